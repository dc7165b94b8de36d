"""Texts of a file without labels, to be predicted."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data.delimited import Quoting
from minidisc_ray.data.files import read_file
from minidisc_ray.data.quoting import cut, quoted
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.table import Table, to_rows

_ADDED = ("prediction", "probability")  # columns that predictions are written to


def read_texts(path: Path, columns: Sequence[str], quoting: Quoting | None = None) -> Rows:
    """Rows with the texts of one or two columns, their labels all zero; ``quoting`` is ``read_file``'s.

    Raises:
        UserError: if the file cannot be read, lacks a column, has no rows, or a row lacks a text, or if a column is
            named twice or as those that predictions are written to.
    """
    if not 1 <= len(columns) <= 2:
        raise UserError(f"columns: {quoted(list(columns))} are {len(columns)} columns; give one or two")
    if len(set(columns)) < len(columns):
        raise UserError(f'columns: "{cut(columns[0])}" stands twice; name different columns')
    for column in columns:
        if column in _ADDED:
            raise UserError(f'columns: "{column}" is a column that predictions are written to; rename it in the file')
    table = read_file(path, "file", {column: column for column in columns}, quoting, "--quoting")
    count = len(table.columns[columns[0]])
    no_label = f"no label beside {' and '.join(columns)}"  # longer than any column, so none is called the same
    unlabelled = Table(table.key, table.where, {**table.columns, no_label: [0.0] * count})
    task = Task("prediction", tuple(columns), no_label, label_names=(), metrics=("pearson",))
    return to_rows(unlabelled, task)
