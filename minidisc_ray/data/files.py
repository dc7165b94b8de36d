"""Columns of a local file: JSON Lines, CSV, TSV (each also .gz) or Parquet."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minidisc_ray.configs.base import UserError, text_of
from minidisc_ray.core.task import Task
from minidisc_ray.data.delimited import Quoting, read_delimited
from minidisc_ray.data.labels import ClassIndex
from minidisc_ray.data.paths import is_file, is_folder, shown
from minidisc_ray.data.quoting import cut, quoted
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.table import MissingColumnError, Table, require_columns, to_rows, with_other_columns
from minidisc_ray.data.unpacking import opened

Columns = dict[str, list[Any]]
_FORMATS = ("jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet")
_ALLOWED = ", ".join(f".{ending}" for ending in _FORMATS)


def read_file(
    path: Path,
    key: str,
    wanted: Mapping[str, str],
    quoting: Quoting | None = None,
    quoting_key: str = "data.quoting",
    with_others: bool = False,
) -> Table:
    """Read the wanted columns of one file, or all of them.

    Empty cells of CSV and TSV are missing values, as is ``null`` in other formats; words such as NA are text.

    Args:
        path: of the file.
        key: of the recipe, for messages.
        wanted: task column -> file column.
        quoting: of CSV and TSV; csv: quotation marks enclose cells, the default in CSV; none: they are text, in TSV.
        quoting_key: the key or option that sets ``quoting``, for messages.
        with_others: read the file's other columns too, all in the file's order.

    Raises:
        UserError: naming ``key`` and the file, if it does not exist, cannot be read or lacks a column.
    """
    ending = _ending(path)
    if ending is None:
        raise UserError(f"{key}: {cut(path.name)} is not of a known format; allowed endings are {_ALLOWED}")
    if not is_file(path, key):
        raise UserError(f"{key}: there is no file {shown(path)}; check the path")
    try:
        kind, note = ending.removesuffix(".gz"), None
        if kind in _SEPARATORS:
            columns, note = read_delimited(path, key, wanted, _SEPARATORS[kind], quoting, quoting_key, with_others)
        else:
            columns = _READERS[kind](path, key, wanted, with_others)
    except UserError:
        raise
    except Exception as error:
        # gzip, zlib and Arrow raise unrelated classes for a file that is damaged or too large.
        reason = " ".join(text_of(error).split())[:200] or type(error).__name__
        raise UserError(f"{key}: {cut(path.name)} cannot be read as {ending} ({reason})") from error
    return Table(key, cut(path.name), columns, note=note)


def find_file(folder: Path, split: str, key: str = "data.folder") -> Path | None:
    """The one file of a split in a folder that ``key`` names, or None.

    Raises:
        UserError: if the folder does not exist, or has several files of that split.
    """
    if not is_folder(folder, key):
        raise UserError(f"{key}: there is no folder {shown(folder)}; check the path")
    found = [path for ending in _FORMATS if is_file(path := folder / f"{split}.{ending}", key)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{key}: {shown(folder)} has several files of {split} ({names}); leave one, or name it")
    return found[0] if found else None


def missing_split(folder: Path, split: str) -> UserError:
    """The error for a folder that lacks a split's file; names the files that it has."""
    try:
        present = sorted(cut(path.name) for path in folder.iterdir() if path.is_file())[:10]
    except OSError as error:
        reason = cut(error.strerror or str(error))
        return UserError(f"data.folder: {shown(folder)} cannot be listed ({reason}); check the folder")
    return UserError(
        f"data.folder: no file {split}.* is in {shown(folder)}, which has: {', '.join(present) or 'no files'}; "
        f"allowed endings are {_ALLOWED}"
    )


class TextsOfFile(NamedTuple):
    """A file whose texts are to be predicted.

    Attributes:
        rows: its texts; all labels are 0.
        table: all of its columns, in the file's order, and the note on how it was read.
    """

    rows: Rows
    table: Table


def read_texts(
    path: Path, columns: Sequence[str], quoting: Quoting | None = None, added: Sequence[str] = ()
) -> TextsOfFile:
    """Read a file whose texts are to be predicted.

    Args:
        path: of the file.
        columns: the one or two columns of text.
        quoting: as for ``read_file``.
        added: columns that the predictions will add.

    Raises:
        UserError: if the file cannot be read, lacks a column, has one with the name of an added one or has no rows, a
            row lacks a text, or a column is named twice.
    """
    _check_text_columns(columns)
    table = read_file(path, "file", {column: column for column in columns}, quoting, "--quoting", with_others=True)
    for column in added:
        if column in table.columns:
            raise UserError(
                f'file: {table.where} has a column "{column}", which `minidisc predict` adds; rename it in the file'
            )
    count = len(table.columns[columns[0]])
    texts = {column: table.columns[column] for column in columns}
    no_label = f"no label beside {' and '.join(columns)}"  # longer than each column name, so equal to none
    unlabelled = Table(table.key, table.where, {**texts, no_label: [0.0] * count})
    task = Task("prediction", tuple(columns), no_label, label_names=(), metrics=("pearson",))
    return TextsOfFile(to_rows(unlabelled, task), table)


def read_labelled(path: Path, task: Task, quoting: Quoting | None = None) -> tuple[Rows, tuple[str, ...]]:
    """Read rows that a finished model is scored on, and notes on how they were read.

    Args:
        path: of the file.
        task: names the columns and the model's classes, in the order of its outputs.
        quoting: as for ``read_file``.

    Raises:
        UserError: if the file cannot be read, lacks a column or has no rows, or a row lacks a text or has a label that
            is none of the model's.
    """
    _check_text_columns(task.text_columns)
    labels = task.label_columns or (task.label_column,)
    if (both := next((label for label in labels if label in task.text_columns), None)) is not None:
        raise UserError(f'label: "{cut(both)}" is a column of text as well; name another column with --label')
    try:
        table = read_file(path, "file", {name: name for name in (*task.text_columns, *labels)}, quoting, "--quoting")
    except MissingColumnError as error:
        is_label = error.column in labels
        option = "--label" if is_label else "--columns"
        raise UserError(f"{error}; name {'the label' if is_label else 'a text'} with {option}") from error
    allowed = "the student's classes are"
    index = ClassIndex(task.label_names, allows_positions=not task.is_multilabel, allowed=allowed)
    rows = to_rows(table, task, index)
    note = (f"Labels that are numbers are the student's outputs: {index.positions_note()}.",)
    read = () if table.note is None else (table.note,)
    return rows, (*read, *(note if index.used_positions else ()))


def is_rows_file(path: Path) -> bool:
    """Whether a file's name has the ending of a format that rows are read from."""
    return _ending(path) is not None


def _check_text_columns(columns: Sequence[str]) -> None:
    if not 1 <= len(columns) <= 2:
        raise UserError(f"columns: {quoted(list(columns))} are {len(columns)} columns; give one or two")
    if len(set(columns)) < len(columns):
        raise UserError(f'columns: "{cut(columns[0])}" is named twice; name different columns')


def _ending(path: Path) -> str | None:
    return next((ending for ending in _FORMATS if path.name.lower().endswith(f".{ending}")), None)


def _read_json_lines(path: Path, key: str, wanted: Mapping[str, str], with_others: bool) -> Columns:
    # By json and not pandas, which converts texts that look like numbers or dates.
    rows: list[dict[str, Any]] = []
    with opened(path, key) as binary:
        lines = io.TextIOWrapper(binary, encoding="utf-8-sig")
        for line_number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(
                    f"{key}: line {line_number} of {cut(path.name)} is not a JSON object; write one row a line"
                )
            rows.append(row)
    if not rows:
        return {column: [] for column in wanted}
    present = list(dict.fromkeys(name for row in (rows if with_others else (rows[0], rows[-1])) for name in row))
    for source in wanted.values():
        if source not in present and any(source in row for row in rows):
            present.append(source)
    require_columns(wanted, present, key, cut(path.name))
    chosen = with_other_columns(wanted, present) if with_others else wanted
    return {column: [row.get(source) for row in rows] for column, source in chosen.items()}


def _read_parquet(path: Path, key: str, wanted: Mapping[str, str], with_others: bool) -> Columns:
    # Arrow is slow to import, and only Parquet needs it.
    from minidisc_ray.data.parquet import read_parquet

    return read_parquet(path, key, wanted, with_others)


_SEPARATORS = {"csv": ",", "tsv": "\t"}
_READERS: dict[str, Callable[[Path, str, Mapping[str, str], bool], Columns]] = {
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
}
