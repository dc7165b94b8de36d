"""Finds what is wrong with the values of a ``result.json``, for messages."""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

# FLOPs are a run's largest numbers: some 1e26 for the largest models today.
_MAX_FLOAT = 1e40
# A ratio to a smaller number would not be finite.
_MIN_FLOAT = 1e-200
_MAX_INTEGER = 2**63


def impossible_number(value: Any, place: str = "") -> str | None:
    """The first number in a JSON value that is too large or too small for any run, in words with its key; else None.

    Without such numbers sums and ratios stay finite.

    Args:
        value: of the JSON document.
        place: the value's own key.
    """
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        found = (impossible_number(item, f"{place}.{key}" if place else str(key)) for key, item in items)
        return next((flaw for flaw in found if flaw is not None), None)
    if isinstance(value, float):
        # The schema itself refuses NaN and infinity.
        is_possible = value == 0 or not math.isfinite(value) or _MIN_FLOAT < abs(value) < _MAX_FLOAT
    else:
        is_possible = not isinstance(value, int) or abs(value) < _MAX_INTEGER
    return None if is_possible else f"{place}: the number is too large or too small"


def first_flaw(error: ValidationError) -> str:
    """The first error of a schema validation, with its key, for messages."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{f'{key}: ' if key else ''}{reason[0].lower()}{reason[1:]}"
