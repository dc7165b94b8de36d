"""Columns as read from a source, and the checks that turn them into rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data.labels import ClassIndex, LabelError, distinct_names, regression_value
from minidisc_ray.data.quoting import cut, quoted
from minidisc_ray.data.rows import Rows

_MAX_COLUMNS = 20


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


def column_map(task_columns: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Task column -> source column, for every column that the task reads.

    Raises:
        UserError: if ``renamed`` names a column that the task does not read, or one column would be read twice.
    """
    *texts, label = task_columns
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
        listed = ", ".join(names[:_MAX_COLUMNS]) + (", ..." if len(names) > _MAX_COLUMNS else "")
        hint = "" if alike is None else f'; "{cut(alike)}" differs only by spaces; remove them, or use this name'
        raise MissingColumnError(
            f'{key}: column "{cut(column)}" is not in {where}, which has: {listed or "none"}{hint}', column
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


def to_rows(table: Table, task: Task, classes: ClassIndex | None = None) -> Rows:
    """Turn a table into rows: check texts and labels, and convert labels to class indices or values.

    Args:
        table: the split as read.
        task: names the text and label columns.
        classes: from labels to class indices; by default made from the task's names, and positions are allowed.

    Raises:
        UserError: if there are no rows, or a text or label is missing or not allowed; names the row, from 1.
    """
    labels = table.columns[task.label_column]
    _require_rows(table, labels)
    texts = tuple(_texts(table, column) for column in task.text_columns)
    if task.is_regression:
        values = [_label(table, row, value, task, regression_value) for row, value in enumerate(labels, start=1)]
        return Rows(texts, np.asarray(values, dtype=np.float32))
    classes = classes or ClassIndex(task.label_names, allows_positions=True)
    converted: dict[tuple[type, Any], int] = {}
    indices = np.empty(len(labels), dtype=np.int64)
    for position, value in enumerate(labels):
        # Each distinct label is converted once. The type is part of the key, as True, 1 and 1.0 are equal in Python.
        known = (type(value), value) if isinstance(value, str | int | float) else (object, position)
        if known not in converted:
            converted[known] = int(_label(table, position + 1, value, task, classes))
        indices[position] = converted[known]
    return Rows(texts, indices)


def label_names_in(table: Table, label_column: str) -> tuple[str, ...]:
    """Names of the classes: the source's own, or those found in the labels.

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
        return distinct_names(labels)
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
        row = next(row for row, text in enumerate(texts, start=1) if not _is_unicode(text))
        raise UserError(f'{table.key}: "{cut(column)}" is not valid Unicode in row {row} of {table.where}') from None
    return texts


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _label(table: Table, row: int, value: Any, task: Task, convert: Callable[[Any], float]) -> float:
    try:
        return convert(value)
    except LabelError as error:
        raise UserError(f'{table.key}: "{cut(task.label_column)}" {error.sentence(row, table.where)}') from None
