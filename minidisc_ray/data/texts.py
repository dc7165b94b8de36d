"""Texts of a file without labels, to be predicted."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data.files import read_file
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.table import Table, to_rows

_NO_LABEL = "value"


def read_texts(path: Path, columns: Sequence[str]) -> Rows:
    """Rows with the texts of one or two columns, their labels all zero.

    Raises:
        UserError: if the file cannot be read, lacks a column, has no rows, or a row lacks a text.
    """
    if not 1 <= len(columns) <= 2:
        raise UserError(f"columns: {list(columns)} are {len(columns)} columns; give one or two")
    table = read_file(path, "file", {column: column for column in columns})
    count = len(table.columns[columns[0]])
    unlabelled = Table(table.key, table.where, {**table.columns, _NO_LABEL: [0.0] * count})
    task = Task("prediction", tuple(columns), _NO_LABEL, label_names=(), metrics=("pearson",))
    return to_rows(unlabelled, task)
