"""Labels of a multi-label task as people write them: names in one cell, or a column of 0 and 1 for each label."""

import json
from collections.abc import Sequence
from typing import Any

from minidisc_ray.core.labels import as_number
from minidisc_ray.data.labels import LabelError, distinct_names
from minidisc_ray.data.quoting import quoted


def names_in_cell(value: Any, separator: str) -> list[Any]:
    """The names in one cell: of a list, of a JSON list as text, or of a text with separators; none in an empty cell.

    Raises:
        LabelError: if the cell is none of these.
    """
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        raise LabelError(quoted(value), f"allowed is a list of names, or names with {quoted(separator)} between them")
    if not value.lstrip().startswith("["):
        return [name for part in value.split(separator) if (name := part.strip())]
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise LabelError(
            quoted(value), f'it begins a JSON list and is none; write ["a", "b"], or names with {quoted(separator)}'
        )
    return found


def distinct_names_in_cells(values: Sequence[Any], separator: str) -> tuple[str, ...]:
    """Distinct names in all cells, sorted as :func:`distinct_names` sorts classes.

    Raises:
        LabelError: with its row, if a cell has no list of names, or a name is not allowed.
    """
    names: list[Any] = []
    rows: list[int] = []
    for row, value in enumerate(values, start=1):
        try:
            found = names_in_cell(value, separator)
        except LabelError as error:
            raise LabelError(error.found, error.allowed, row) from None
        names.extend(found)
        rows.extend([row] * len(found))
    try:
        return distinct_names(names)
    except LabelError as error:
        raise LabelError(error.found, error.allowed, rows[error.row - 1]) from None


def flag(value: Any) -> bool:
    """Whether a row has the label of a column: 0 or 1, or true or false.

    Raises:
        LabelError: if it is anything else, or missing.
    """
    if value is None:
        raise LabelError("missing", "every row needs 0 or 1")
    words = {"true": True, "false": False}
    found = words.get(str(value).strip().lower()) if isinstance(value, str | bool) else None
    if found is not None:
        return found
    number = as_number(value) if isinstance(value, str | int | float) else None
    if number is None or number not in (0, 1):
        raise LabelError(quoted(value), "allowed are 0 and 1, or true and false")
    return number == 1
