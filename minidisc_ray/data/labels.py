"""Labels as people write them: class names, class numbers, or the values of a regression."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

_MAX_TOLD = 10
_FLOAT32_MAX = 3.4e38


class LabelError(ValueError):
    """A label that is not allowed; the caller knows the file and the row."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"{found}; {allowed}")
        self.found = found
        self.allowed = allowed

    def told(self, row: int, where: str) -> str:
        """The mistake with its place."""
        return f"is {self.found} in row {row} of {where}; {self.allowed}"


def class_index(value: Any, names: Sequence[str]) -> int:
    """A label's class: the name that it equals, otherwise the number that it is.

    Names go first, so that a file with classes 1 and 2 means the same in CSV, where all is text, as in JSON.

    Raises:
        LabelError: if it is missing, or neither one of the names nor a number below their count.
    """
    if value is None:
        raise LabelError("missing", _allowed(names))
    text = _plain(value)
    if text in names:
        return names.index(text)
    try:
        index = int(text)
    except ValueError:
        index = -1
    if not 0 <= index < len(names):
        raise LabelError(f"{value!r}", _allowed(names))
    return index


def number(value: Any) -> float:
    """A regression's label.

    Raises:
        LabelError: if it is missing or not a finite number.
    """
    if value is None:
        raise LabelError("missing", "every row needs a finite number")
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not abs(found) <= _FLOAT32_MAX:
        raise LabelError(f"{value!r}", "allowed is a finite number")
    return found


def found_names(values: Iterable[Any]) -> tuple[str, ...]:
    """Distinct labels in a settled order: numbers by value, names by alphabet; missing ones are left out.

    Raises:
        LabelError: if a label is a broken number such as 0.5, which no class is, or no label at all.
    """
    distinct: set[Any] = set()
    for value in values:
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not value.is_integer()):
            raise LabelError(f"{value!r}", "a class is a name or a whole number; for values use task.kind: regression")
        distinct.add(value)
    names = {_plain(value) for value in distinct if value is not None}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def _plain(value: Any) -> str:
    """The text of a label; 1.0, which tables with gaps make of 1, is 1 again."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _allowed(names: Sequence[str]) -> str:
    told = ", ".join(names[:_MAX_TOLD]) + (", ..." if len(names) > _MAX_TOLD else "")
    return f"allowed: {told}, or a number from 0 to {len(names) - 1}"
