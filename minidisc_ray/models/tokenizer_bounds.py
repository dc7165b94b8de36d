"""A bound that no real tokenizer reaches: one that lengthens a text many times hangs, or fills memory, on any row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from minidisc_ray.configs.model import Checkpoint
from minidisc_ray.files.reading import read_regular

_FILE_BYTES = 2**30
_MOST_GROWTH = 16


def tokenizer_flaw(checkpoint: Checkpoint) -> str | None:
    """What is wrong with a checkpoint's ``tokenizer.json``, in words; None if nothing is, or there is none.

    Loading a tokenizer normalizes its added tokens, so this has to be called first.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not JSON.
    """
    path = cached_file(
        checkpoint.path,
        "tokenizer.json",
        revision=checkpoint.revision,
        _raise_exceptions_for_missing_entries=False,
    )
    if path is None:
        return None
    raw = json.loads(read_regular(Path(path), _FILE_BYTES, follow_link=True))
    growth = _growth(raw.get("normalizer")) if isinstance(raw, Mapping) else 1.0
    if growth > _MOST_GROWTH:
        return f"its normalizer makes a text up to {growth:.3g} times as long, and {_MOST_GROWTH} times are allowed"
    return None


def _growth(normalizer: Any) -> float:
    """At most how many times as long a text gets; the replacements of a sequence multiply."""
    if not isinstance(normalizer, Mapping):
        return 1.0
    if normalizer.get("type") == "Sequence":
        growth = 1.0
        for step in normalizer.get("normalizers") or ():
            growth = min(growth * _growth(step), 1e300)
        return growth
    if normalizer.get("type") == "Prepend":
        # As if it were put before a text of a hundred characters.
        return 1.0 + len(str(normalizer.get("prepend", ""))) / 100
    if normalizer.get("type") == "Replace":
        pattern = normalizer.get("pattern")
        # A regular expression may match one character.
        shortest = len(str(pattern.get("String", "-"))) if isinstance(pattern, Mapping) else 1
        return max(1.0, len(str(normalizer.get("content", ""))) / max(shortest, 1))
    return 1.0
