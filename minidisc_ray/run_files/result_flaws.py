"""What is wrong with a ``result.json``, in words for a sentence."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

# FLOPs are the largest of a run's numbers: some 1e26 for the largest models of our day.
_LARGEST_FLOAT = 1e40
# A ratio to a smaller one would not be finite.
_SMALLEST_FLOAT = 1e-200
_LARGEST_INTEGER = 2**63


def impossible_number(value: Any, place: str = "") -> str | None:
    """Where within JSON values a number stands that no run has, so that sums and ratios stay finite; None if nowhere.

    Args:
        value: of the JSON document.
        place: its own key.
    """
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        found = (impossible_number(item, f"{place}.{key}" if place else str(key)) for key, item in items)
        return next((flaw for flaw in found if flaw is not None), None)
    if isinstance(value, float):
        # The schema has words of its own for what is not finite.
        is_possible = value == 0 or not math.isfinite(value) or _SMALLEST_FLOAT < abs(value) < _LARGEST_FLOAT
    else:
        is_possible = not isinstance(value, int) or abs(value) < _LARGEST_INTEGER
    return None if is_possible else f"{place}: a number that no run has"


def first_flaw(error: ValidationError) -> str:
    """The first thing that a schema found, with its key."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{f'{key}: ' if key else ''}{reason[0].lower()}{reason[1:]}"
