"""Bounds on ``config.json`` that no real model reaches: larger sizes would hang or fill memory before any error."""

import math
from collections.abc import Mapping
from typing import Any

# Keys as each family names them.
_LARGEST = {
    "num_hidden_layers": 1_000,
    "n_layers": 1_000,
    "num_attention_heads": 1_000,
    "n_heads": 1_000,
    "hidden_size": 100_000,
    "embedding_size": 100_000,
    "dim": 100_000,
    "intermediate_size": 1_000_000,
    "hidden_dim": 1_000_000,
    "vocab_size": 10_000_000,
    "type_vocab_size": 10_000,
    "max_position_embeddings": 1_000_000,
    "num_labels": 100_000,
}
_EPSILON = "layer_norm_eps"


def config_flaw(raw: Mapping[str, Any]) -> str | None:
    """What is wrong with the sizes in a model's config, in words; None if they are plausible."""
    for key, largest in _LARGEST.items():
        value = raw.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            return f"{key} is {str(value)[:40]}, and a model has 1 to {largest:,}"
    labels = raw.get("id2label")
    if isinstance(labels, Mapping) and len(labels) > _LARGEST["num_labels"]:
        return f"id2label has {len(labels):,} labels, and a model has 1 to {_LARGEST['num_labels']:,}"
    count = len(labels) if isinstance(labels, Mapping) else raw.get("num_labels")
    if raw.get("problem_type") == "regression" and count not in (None, 1):
        return f"problem_type is regression, and there are {count} labels; a regression has one"
    epsilon = raw.get(_EPSILON)
    if epsilon is not None and not (isinstance(epsilon, int | float) and math.isfinite(epsilon) and epsilon > 0):
        return f"{_EPSILON} is {str(epsilon)[:40]}, and has to be a number above 0"
    return None
