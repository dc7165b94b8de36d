"""The settings of a tokenizer that affect encodings, and the largest ids that a model must accept."""

import hashlib
import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError

SANE_MAX_LENGTH = 1_000_000  # tokenizers without a limit have 1e30


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Everything that changes an encoding, as JSON: vocabulary, merges, normalizer, special and added tokens, settings.

    Read from the loaded tokenizer, so that it does not matter which of its files has a setting.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # Set by the last call, and no property of the tokenizer.
    for leftover in ("truncation", "padding"):
        backend.pop(leftover, None)
    return {
        "backend": backend,
        "max_length": own_limit(tokenizer),
        "truncation_side": tokenizer.truncation_side,
        "token_types": gives_token_types(tokenizer),
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "pad_token_id": tokenizer.pad_token_id,
    }


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sha256 of the tokenizer's state, its first 16 hexadecimal digits: equal if tokenizers encode every text alike."""
    state = json.dumps(tokenizer_state(tokenizer), sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def own_limit(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The tokenizer's own limit to the tokens of a row; None if it has none.

    Raises:
        UserError: if the limit is not a number.
    """
    limit = tokenizer.model_max_length
    if not isinstance(limit, int | float):
        raise UserError(
            f"teacher.path: model_max_length of tokenizer_config.json is {limit!r}, which is no number; correct it"
        )
    return int(limit) if 0 < limit < SANE_MAX_LENGTH else None


def has_bpe_dropout(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer encodes a text differently each time."""
    return bool(json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("dropout"))


def gives_token_types(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer gives token types, which say to which of two texts a token belongs."""
    return "token_type_ids" in tokenizer.model_input_names


def largest_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest token id in the vocabulary; ids may have gaps, so it can exceed their number."""
    return max(tokenizer.get_vocab().values(), default=-1)


def largest_token_type(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest token type in the encoding of two texts; 0 if the tokenizer gives none."""
    if not gives_token_types(tokenizer):
        return 0
    return max(tokenizer("a", "a", return_token_type_ids=True, verbose=False)["token_type_ids"], default=0)
