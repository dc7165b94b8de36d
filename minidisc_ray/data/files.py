"""Columns of a local file: JSON Lines, CSV, TSV (each also .gz) or Parquet."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.parquet import read_parquet
from minidisc_ray.data.paths import is_file, is_folder, shown
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import Table, refuse_repeated, require_columns
from minidisc_ray.data.unpacking import opened

Columns = dict[str, list[Any]]
_FORMATS = ("jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet")
_ALLOWED = ", ".join(f".{ending}" for ending in _FORMATS)
_MAX_COLUMNS = 10_000
_MAX_FIELD_LINES = 20  # of a quoted CSV field
_LINE_END = re.compile(r"\r\n?|\n")


def read_file(path: Path, key: str, wanted: Mapping[str, str]) -> Table:
    """Read the wanted columns (task column -> file column) of one file.

    Empty cells of CSV and TSV are missing values, as is ``null`` elsewhere; words such as NA stay words.

    Raises:
        UserError: naming ``key`` and the file, if it is not there, cannot be read or lacks a column.
    """
    ending = _ending(path)
    if ending is None:
        raise UserError(f"{key}: {cut(path.name)} is not of a known format; allowed endings are {_ALLOWED}")
    if not is_file(path, key):
        raise UserError(f"{key}: there is no file {shown(path)}; check the path")
    try:
        columns = _READERS[ending.removesuffix(".gz")](path, key, wanted)
    except UserError:
        raise
    except Exception as error:
        # Everything, as gzip, zlib, pandas and Arrow raise unrelated classes for a file that is damaged, or too large.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{key}: {cut(path.name)} cannot be read as {ending} ({reason})") from error
    return Table(key, cut(path.name), columns)


def find_file(folder: Path, split: str) -> Path | None:
    """The one file of a split in a folder, or None.

    Raises:
        UserError: if the folder is not there, or there are several files of that split.
    """
    if not is_folder(folder, "data.folder"):
        raise UserError(f"data.folder: there is no folder {shown(folder)}; check the path")
    found = [path for ending in _FORMATS if is_file(path := folder / f"{split}.{ending}", "data.folder")]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"data.folder: {shown(folder)} has several files of {split} ({names}); leave one, or name it")
    return found[0] if found else None


def missing_split(folder: Path, split: str) -> UserError:
    """The mistake of a folder that lacks a split's file."""
    try:
        present = sorted(cut(path.name) for path in folder.iterdir() if path.is_file())[:10]
    except OSError as error:
        reason = cut(error.strerror or str(error))
        return UserError(f"data.folder: {shown(folder)} cannot be listed ({reason}); check the folder")
    return UserError(
        f"data.folder: no file {split}.* is in {shown(folder)}, which has: {', '.join(present) or 'no files'}; "
        f"allowed endings are {_ALLOWED}"
    )


def _ending(path: Path) -> str | None:
    # The longest ending first, so that .csv.gz is not taken for an unknown .gz.
    fitting = [ending for ending in _FORMATS if path.name.lower().endswith(f".{ending}")]
    return max(fitting, key=len, default=None)


def _read_json_lines(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    # Parsed line by line: pandas would turn texts that look like numbers or dates into such.
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
    present = list(dict.fromkeys(name for row in (rows[0], *rows[-1:]) for name in row))
    for source in wanted.values():
        if source not in present and any(source in row for row in rows):
            present.append(source)
    require_columns(wanted, present, key, cut(path.name))
    return {column: [row.get(source) for row in rows] for column, source in wanted.items()}


def _read_csv(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    return _read_delimited(path, key, wanted, ",")


def _read_tsv(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    return _read_delimited(path, key, wanted, "\t")


def _read_delimited(path: Path, key: str, wanted: Mapping[str, str], separator: str) -> Columns:
    def read(**options: Any) -> pd.DataFrame:
        options |= {"sep": separator, "dtype": object, "keep_default_na": False, "na_values": [""]}
        with opened(path, key) as binary:
            frame: pd.DataFrame = pd.read_csv(binary, encoding="utf-8-sig", **options)
        return frame

    # By itself, as pandas renames the second of two equal columns, and takes minutes over a million of them.
    refuse_repeated(_header(path, key, separator), key, cut(path.name))
    try:
        frame = read()
    except pd.errors.EmptyDataError:
        return {column: [] for column in wanted}
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes surplus cells for an index, which would shift every column by one.
        raise UserError(f"{key}: {cut(path.name)} has rows with more cells than its header has columns")
    require_columns(wanted, [str(name) for name in frame.columns], key, cut(path.name))
    _refuse_swallowed_rows(frame, key, path, separator)
    return {
        column: frame[source].astype(object).where(frame[source].notna(), None).tolist()
        for column, source in wanted.items()
    }


def _header(path: Path, key: str, separator: str) -> list[str]:
    """The names of the first line that is not blank; columns without one are left out."""
    with opened(path, key) as binary:
        lines = csv.reader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""), delimiter=separator)
        cells = next((cells for cells in lines if len(cells) > 1 or "".join(cells).strip()), [])
    if len(cells) > _MAX_COLUMNS:
        raise UserError(
            f"{key}: {cut(path.name)} has {len(cells):,} columns; take out those that the task does not read, so that "
            f"at most {_MAX_COLUMNS:,} are left"
        )
    return [cell for cell in cells if cell]


def _refuse_swallowed_rows(frame: pd.DataFrame, key: str, path: Path, separator: str) -> None:
    """Refuse fields in which a stray quotation mark has hidden the lines up to the next mark."""
    firsts, lasts = (frozenset(frame.iloc[:, place].dropna()) - {""} for place in (0, -1))
    for place, column in enumerate(frame.columns):
        values = frame[column]
        for row in values.index[values.str.contains(r"[\r\n]", na=False)]:
            lines = _LINE_END.split(values[row])
            if separator == "\t" or _swallows_rows(lines, firsts, lasts, place, len(frame.columns), separator):
                raise UserError(
                    f'{key}: "{cut(str(column))}" runs over several lines in row {row + 1} of {cut(path.name)}; '
                    "close or remove its quotation mark, or use .jsonl"
                )


def _swallows_rows(
    lines: list[str], firsts: frozenset[str], lasts: frozenset[str], place: int, width: int, separator: str
) -> bool:
    """Whether the lines of one field are rows rather than a text.

    A line break within quotation marks is legal in CSV, so there are two signs only: more lines than a text has, and
    lines that all end in a separator and a value of the last column (or begin with one of the first), as rows do.
    """
    if len(lines) > _MAX_FIELD_LINES:
        return True
    ends = place < width - 1 and lines[0].count(separator) >= width - 1 - place
    begins = place == width - 1 > 0
    return (ends and all(separator in line and line.rpartition(separator)[2] in lasts for line in lines[:-1])) or (
        begins and all(separator in line and line.partition(separator)[0] in firsts for line in lines[1:])
    )


_READERS: dict[str, Callable[[Path, str, Mapping[str, str]], Columns]] = {
    "jsonl": _read_json_lines,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "parquet": read_parquet,
}
