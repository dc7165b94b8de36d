"""Rows as token ids in one flat tensor, cached by content.

N rows, T tokens of all rows together.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.tokenizer import gives_token_types, own_limit, tokenizer_state
from minidisc_ray.files.writing import write_file

# Far more than the characters of any token in a vocabulary.
_MAX_CHARACTERS_PER_TOKEN = 1_000
_CHUNK_ROWS = 4096
_FORMAT = 2  # part of the digest: raise it when the encoding of an unchanged input changes


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Token ids of N rows, without padding.

    Attributes:
        input_ids: (T,) int32, one row after the other.
        offsets: (N + 1,) int64; row ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``.
        token_types: (T,) uint8, or None for models that have none.
        labels: (N,) int64 classes or float32 values, or (N, C) float32 of 0 and 1.
        truncated_rows: rows that were longer than the limit.
    """

    input_ids: Tensor
    offsets: Tensor
    token_types: Tensor | None
    labels: Tensor
    truncated_rows: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """(N,) int64 tokens of each row."""
        return self.offsets[1:] - self.offsets[:-1]


def encode(rows: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_folder: Path | None) -> EncodedRows:
    """Encode rows, or load their encoding from the cache.

    Args:
        rows: one or two texts each; of two, the longer one is truncated first.
        tokenizer: a fast tokenizer with a padding token.
        max_length: tokens kept of a row, special ones included; the tokenizer's own limit applies too.
        cache_folder: of earlier encodings, or None; a damaged file is replaced.

    Raises:
        UserError: if the tokenizer is not a fast one, or has no padding token.
    """
    if not tokenizer.is_fast:
        raise UserError("teacher.path: its tokenizer has no tokenizer.json; a fast tokenizer is needed")
    if tokenizer.pad_token_id is None:
        raise UserError("teacher.path: its tokenizer has no padding token; set pad_token in tokenizer_config.json")
    limit = min(max_length, own_limit(tokenizer) or max_length)
    labels = torch.from_numpy(rows.labels.copy())
    if cache_folder is None:
        return _encode(rows, tokenizer, limit, labels)
    path = cache_folder / f"encodings-{_digest(rows, tokenizer, limit)}.safetensors"
    cached = _load(path, labels)
    if cached is None:
        cached = _encode(rows, tokenizer, limit, labels)
        _save(cached, path)
    return cached


def unknown_share(encoded: EncodedRows, tokenizer: PreTrainedTokenizerBase) -> float:
    """The share of unknown tokens among a split's tokens; other special tokens are not counted."""
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return 0.0
    special = [token for token in tokenizer.all_special_ids if token != unknown]
    counted = ~torch.isin(encoded.input_ids, torch.tensor(special, dtype=encoded.input_ids.dtype))
    return float((encoded.input_ids[counted] == unknown).double().mean()) if bool(counted.any()) else 0.0


def _encode(rows: Rows, tokenizer: PreTrainedTokenizerBase, limit: int, labels: Tensor) -> EncodedRows:
    with_types = gives_token_types(tokenizer)
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    lengths = np.zeros(len(rows), dtype=np.int64)
    truncated = 0
    # Text after this many characters would be truncated anyway; tokenizing megabytes takes seconds and gigabytes.
    most = limit * _MAX_CHARACTERS_PER_TOKEN

    def tokenize(positions: list[int], **options: Any) -> tuple[list[list[int]], list[list[int]]]:
        texts = [[column[position][:most] for position in positions] for column in rows.texts]
        encoded = tokenizer(
            *texts, return_attention_mask=False, return_token_type_ids=with_types, verbose=False, **options
        )
        return encoded["input_ids"], encoded["token_type_ids"] if with_types else []

    for start in range(0, len(rows), _CHUNK_ROWS):
        positions = list(range(start, min(start + _CHUNK_ROWS, len(rows))))
        row_ids, row_types = tokenize(positions, truncation=False)
        # Without truncation first: only this gives the exact number of rows longer than the limit.
        long = [place for place, tokens in enumerate(row_ids) if len(tokens) > limit]
        if long:
            short_ids, short_types = tokenize(
                [positions[place] for place in long], truncation="longest_first", max_length=limit
            )
            for order, place in enumerate(long):
                row_ids[place] = short_ids[order]
                if with_types:
                    row_types[place] = short_types[order]
        truncated += len(long)
        lengths[start : start + len(positions)] = [len(tokens) for tokens in row_ids]
        ids.extend(np.asarray(tokens, dtype=np.int32) for tokens in row_ids)
        types.extend(np.asarray(tokens, dtype=np.uint8) for tokens in row_types)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    return EncodedRows(
        torch.from_numpy(_flat(ids, np.dtype(np.int32))),
        torch.from_numpy(offsets),
        torch.from_numpy(_flat(types, np.dtype(np.uint8))) if with_types else None,
        labels,
        truncated,
    )


def _flat(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


def _digest(rows: Rows, tokenizer: PreTrainedTokenizerBase, limit: int) -> str:
    described = {
        "format": _FORMAT,
        "rows": rows.digest(),
        "tokenizer": tokenizer_state(tokenizer),
        "limit": limit,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _save(encoded: EncodedRows, path: Path) -> None:
    """Write the file atomically: no reader sees half of it, and concurrent writers do no harm."""
    tensors = {"input_ids": encoded.input_ids, "offsets": encoded.offsets}
    if encoded.token_types is not None:
        tensors["token_types"] = encoded.token_types
    metadata = {"truncated_rows": str(encoded.truncated_rows), "checksum": _checksum(tensors)}
    write_file(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def _load(path: Path, labels: Tensor) -> EncodedRows | None:
    """The cached encoding, or None if there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if metadata.get("checksum") != _checksum(tensors):
            return None
        return EncodedRows(
            tensors["input_ids"],
            tensors["offsets"],
            tensors.get("token_types"),
            labels,
            int(metadata["truncated_rows"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _checksum(tensors: dict[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        sha.update(tensors[name].numpy().tobytes())
    return sha.hexdigest()
