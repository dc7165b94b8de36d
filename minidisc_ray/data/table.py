"""Columns as read from a source, and the checks that turn them into rows."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data.label_sets import distinct_names_in_cells, flag, names_in_cell
from minidisc_ray.data.labels import ClassIndex, LabelError, distinct_names, regression_value
from minidisc_ray.data.quoting import cut, is_unicode, quoted
from minidisc_ray.data.rows import Rows

_MAX_COLUMNS = 20
_T = TypeVar("_T")


class MissingColumnError(UserError):
    """A column that a source lacks.

    Attributes:
        column: its name in the source.
    """

    def __init__(self, sentence: str, column: str) -> None:
        super().__init__(sentence)
        self.column = column


@dataclass(frozen=True, eq=False)
class Table:
    """One split as read, unchecked.

    Attributes:
        key: the recipe's key that named it, for messages.
        where: the name of the source in messages, such as the file's.
        columns: task column -> N values; None is a missing value.
        class_names: names of integer labels, where the source itself has them.
        note: a warning about how it was read, one sentence.
    """

    key: str
    where: str
    columns: dict[str, list[Any]]
    class_names: tuple[str, ...] | None = None
    note: str | None = None


def column_map(task_columns: Sequence[str], renamed: Mapping[str, str], num_labels: int = 1) -> dict[str, str]:
    """Task column -> source column, for every column that the task reads; the last ``num_labels`` are of labels.

    Raises:
        UserError: if ``renamed`` names a column that the task does not read, or one column would be read twice.
    """
    texts, labels = task_columns[:-num_labels], task_columns[-num_labels:]
    for label in labels:
        if label in texts:
            raise UserError(f'task.text: column "{cut(label)}" is task.label as well; name different columns')
    if len(set(texts)) < len(texts):
        raise UserError(f'task.text: column "{cut(texts[0])}" is named twice; name different columns')
    for column in renamed:
        if column not in task_columns:
            raise UserError(
                f'data.columns: "{cut(column)}" is not a column of the task, which has: {", ".join(task_columns)}'
            )
    wanted = {column: renamed.get(column, column) for column in task_columns}
    readers: dict[str, str] = {}
    for column, source in wanted.items():
        if source in readers:
            raise UserError(
                f'data.columns: column "{cut(source)}" would be read as both {cut(readers[source])} and {cut(column)}; '
                "name different columns"
            )
        readers[source] = column
    return wanted


def with_other_columns(wanted: Mapping[str, str], present: Sequence[str]) -> dict[str, str]:
    """Column -> source column for every column of a source, in its order: wanted ones as the task calls them."""
    names = {source: column for column, source in wanted.items()}
    return {names.get(source, source): source for source in present}


def require_columns(wanted: Mapping[str, str], present: Sequence[str], key: str, where: str) -> None:
    """Check that a source has all wanted columns.

    Raises:
        MissingColumnError: naming the first missing column and all present ones.
    """
    for column in wanted.values():
        if column in present:
            continue
        alike = next((name for name in present if name.strip() == column.strip()), None)
        names = [cut(name) if alike is None else f'"{cut(name)}"' for name in present]
        shown = ", ".join(names[:_MAX_COLUMNS])
        shown += f" and {len(names) - _MAX_COLUMNS:,} more" if len(names) > _MAX_COLUMNS else ""
        hint = "" if alike is None else f'; "{cut(alike)}" differs only by spaces; remove them, or use this name'
        raise MissingColumnError(
            f'{key}: column "{cut(column)}" is not in {where}, which has: {shown or "none"}{hint}', column
        )


def refuse_repeated(names: Sequence[str], key: str, where: str) -> None:
    """Check that the names of a source's columns are unique.

    Raises:
        UserError: naming the first repeated column.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(
                f'{key}: {where} has {count} columns called "{cut(name)}"; give each column a name of its own'
            )


def has_label(value: Any) -> bool:
    """Whether a cell of a label column is neither missing nor blank; writers mark what is missing by NaN too."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return bool(value.strip()) if isinstance(value, str) else value is not None


def require_labels(table: Table, label_column: str) -> None:
    """Check that every row has a label.

    Raises:
        UserError: if not; with how many have none, the first of them from 1, and the key that leaves them out.
    """
    labels = table.columns[label_column]
    missing = [row for row, label in enumerate(labels, start=1) if not has_label(label)]
    if missing and len(missing) == len(labels):
        raise UserError(f'{table.key}: "{cut(label_column)}" is missing in every row of {table.where}')
    if missing:
        raise UserError(
            f'{table.key}: {len(missing):,} of {len(labels):,} rows of {table.where} have no "{cut(label_column)}", '
            f"the first of them row {missing[0]}; give labels, or leave such rows out with data.drop_unlabelled=true"
        )


def without_unlabelled(table: Table, label_column: str) -> Table:
    """The table without its rows that have no label, with a note on how many were left out.

    Raises:
        UserError: if no row has a label.
    """
    labels = table.columns[label_column]
    kept = [row for row, label in enumerate(labels) if has_label(label)]
    if len(kept) == len(labels):
        return table
    if not kept:
        raise UserError(
            f'{table.key}: no row of {table.where} has a "{cut(label_column)}", and data.drop_unlabelled leaves out '
            "such rows; give a file with labels"
        )
    counts = f"{len(labels) - len(kept):,} of {len(labels):,} rows of {table.where}"
    note = f'{counts} have no "{cut(label_column)}" and are left out (data.drop_unlabelled)'
    return replace(
        table,
        # Messages name rows by their number, which is no longer that of the file.
        where=f"{table.where}, not counting rows without a label",
        columns={name: [values[row] for row in kept] for name, values in table.columns.items()},
        note="; ".join(filter(None, (table.note, note))),
    )


def to_rows(table: Table, task: Task, classes: ClassIndex | None = None) -> Rows:
    """Turn a table into rows: check texts and labels, and convert labels to class indices, values, or 0 and 1.

    Args:
        table: the split as read.
        task: names the text and label columns.
        classes: from labels to class indices; by default made from the task's names, and positions are allowed.

    Raises:
        UserError: if there are no rows, or a text or label is missing or not allowed; names the row, from 1.
    """
    _require_rows(table, next(iter(table.columns.values())))
    texts = tuple(_texts(table, column) for column in task.text_columns)
    if task.label_columns:
        flags = [_converted(table, column, flag) for column in task.label_columns]
        return Rows(texts, np.asarray(flags, dtype=np.float32).T.copy())
    labels = table.columns[task.label_column]
    if task.is_regression:
        return Rows(texts, np.asarray(_converted(table, task.label_column, regression_value), dtype=np.float32))
    classes = classes or ClassIndex(task.label_names, allows_positions=not task.is_multilabel)
    if task.is_multilabel:
        return Rows(texts, _label_sets(table, task, classes))
    converted: dict[tuple[type, Any], int] = {}
    indices = np.empty(len(labels), dtype=np.int64)
    for position, value in enumerate(labels):
        # Each distinct label is converted once. The type is part of the key, as True, 1 and 1.0 are equal in Python.
        known = (type(value), value) if isinstance(value, str | int | float) else (object, position)
        if known not in converted:
            converted[known] = _label(table, position + 1, value, task.label_column, classes)
        indices[position] = converted[known]
    return Rows(texts, indices)


def label_names_in(table: Table, label_column: str, separator: str | None = None) -> tuple[str, ...]:
    """Names of the classes, or of the labels in each cell with a ``separator``: the source's own, or those found.

    Raises:
        UserError: if there are no rows, or a label cannot be the name of a class; names the row, from 1.
    """
    labels = table.columns[label_column]
    _require_rows(table, labels)
    if table.class_names is not None:
        return table.class_names
    if all(label is None for label in labels):
        raise UserError(f'{table.key}: "{cut(label_column)}" is missing in every row of {table.where}')
    try:
        return distinct_names(labels) if separator is None else distinct_names_in_cells(labels, separator)
    except LabelError as error:
        raise UserError(f'{table.key}: "{cut(label_column)}" {error.sentence(error.row, table.where)}') from None


def _require_rows(table: Table, labels: Sequence[Any]) -> None:
    if not labels:
        raise UserError(f"{table.key}: {table.where} has no rows")


def _texts(table: Table, column: str) -> list[str]:
    texts = table.columns[column]
    for row, text in enumerate(texts, start=1):
        if type(text) is not str:
            found = "missing" if text is None else f"{quoted(text)}, not a text"
            raise UserError(
                f'{table.key}: "{cut(column)}" is {found} in row {row} of {table.where}; every row needs a text'
            )
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(texts, start=1) if not is_unicode(text))
        raise UserError(f'{table.key}: "{cut(column)}" is not valid Unicode in row {row} of {table.where}') from None
    return texts


def _label_sets(table: Table, task: Task, classes: ClassIndex) -> NDArray[np.float32]:  # (N, C)
    def positions(value: Any) -> list[int]:
        return [classes(name) for name in names_in_cell(value, task.separator)]

    found = _converted(table, task.label_column, positions)
    labels = np.zeros((len(found), task.num_labels), dtype=np.float32)
    for row, places in enumerate(found):
        labels[row, places] = 1.0
    return labels


def _converted(table: Table, column: str, convert: Callable[[Any], _T]) -> list[_T]:
    return [_label(table, row, value, column, convert) for row, value in enumerate(table.columns[column], start=1)]


def _label(table: Table, row: int, value: Any, column: str, convert: Callable[[Any], _T]) -> _T:
    try:
        return convert(value)
    except LabelError as error:
        raise UserError(f'{table.key}: "{cut(column)}" {error.sentence(row, table.where)}') from None
