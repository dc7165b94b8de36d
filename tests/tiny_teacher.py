"""The recipe's part of a teacher so tiny that it learns hardly anything in a test's time, and may."""

from typing import Any

TINY_TEACHER: dict[str, Any] = {
    "kind": "builtin",
    "num_layers": 2,
    "hidden_size": 32,
    "num_heads": 4,
    "intermediate_size": 64,
    "allow_at_chance": True,
}
