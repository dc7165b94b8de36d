"""What is wrong with a ``result.json``, in words for a sentence."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

# FLOPs are the largest of a run's numbers: some 1e26 for the largest models of our day.
_LARGEST_FLOAT = 1e40
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
    is_float, is_integer = isinstance(value, float), isinstance(value, int) and not isinstance(value, bool)
    # Of NaN every comparison is false.
    is_possible = abs(value) < (_LARGEST_FLOAT if is_float else _LARGEST_INTEGER) if is_float or is_integer else True
    return None if is_possible else f"{place}: a number that no run has"


def first_flaw(error: ValidationError) -> str:
    """The first thing that a schema found, with its key."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{f'{key}: ' if key else ''}{reason[0].lower()}{reason[1:]}"
