"""Labels as people write them: class names, class numbers, or the values of a regression."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from minidisc_ray.data.quoting import cut, quoted

_MAX_TOLD = 10
_FLOAT32_MAX = 3.4e38
_NO_NAME = ("Cc", "Cs")  # Unicode's control characters and lone surrogates
_UNLABELLED = "-1"  # in GLUE


class LabelError(ValueError):
    """A label that is not allowed; the caller knows the file and the row."""

    def __init__(self, found: str, allowed: str, row: int = 0) -> None:
        super().__init__(f"{found}; {allowed}")
        self.found = found
        self.allowed = allowed
        self.row = row  # from 1, where a whole column was read

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
    for name in (text, text.strip()):
        if name in names:
            return names.index(name)
    try:
        index = int(text)
    except ValueError:
        index = -1
    if not 0 <= index < len(names):
        raise LabelError(quoted(value), _allowed(names))
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
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not abs(found) <= _FLOAT32_MAX:
        raise LabelError(quoted(value), "allowed is a finite number")
    return found


def found_names(values: Iterable[Any]) -> tuple[str, ...]:
    """Distinct labels in a settled order: numbers by value, names by alphabet; missing ones are left out.

    Blanks around a name do not belong to it.

    Raises:
        LabelError: with its row, if a label is a broken number such as 0.5, which no class is, no label at all, or -1
            where all others are whole numbers.
    """
    seen: set[Any] = set()
    first_rows: dict[str, int] = {}
    for row, value in enumerate(values, start=1):
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not value.is_integer()):
            raise LabelError(
                quoted(value), "a class is a name or a whole number; for values use task.kind: regression", row
            )
        if value is None or (type(value), value) in seen:
            continue
        seen.add((type(value), value))
        name = _plain(value).strip()
        if not name:
            raise LabelError("empty", "every row needs the name or number of a class", row)
        if any(unicodedata.category(character) in _NO_NAME for character in name):
            raise LabelError(quoted(value), "the name of a class has no control characters and is valid Unicode", row)
        first_rows.setdefault(name, row)
    try:
        names = tuple(sorted(first_rows, key=int))
    except ValueError:
        return tuple(sorted(first_rows))
    if _UNLABELLED in first_rows:
        allowed = "-1 marks rows without a label; leave them out, or name the classes in task.label_names"
        raise LabelError(_UNLABELLED, allowed, first_rows[_UNLABELLED])
    return names


def _plain(value: Any) -> str:
    """The text of a label; 1.0, which tables with gaps make of 1, is 1 again."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _allowed(names: Sequence[str]) -> str:
    told = ", ".join(map(cut, names[:_MAX_TOLD])) + (", ..." if len(names) > _MAX_TOLD else "")
    return f"allowed: {told}, or a number from 0 to {len(names) - 1}"
