"""Columns of a local file: JSON Lines, CSV, TSV (each also .gz) or Parquet."""

import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import pandas as pd
import pyarrow
import pyarrow.parquet

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.table import Table, require_columns

Columns = dict[str, list[Any]]
_FORMATS = ("jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet")
_ALLOWED = ", ".join(f".{ending}" for ending in _FORMATS)


def read_file(path: Path, key: str, wanted: Mapping[str, str]) -> Table:
    """Read the wanted columns (task column -> file column) of one file.

    Empty cells of CSV and TSV are missing values, as is ``null`` elsewhere; words such as NA stay words.

    Raises:
        UserError: naming ``key`` and the file, if it is not there, cannot be read or lacks a column.
    """
    ending = _ending(path)
    if ending is None:
        raise UserError(f"{key}: {path.name} is not of a known format; allowed endings are {_ALLOWED}")
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}; check the path")
    try:
        columns = _READERS[ending.removesuffix(".gz")](path, key, wanted)
    except UserError:
        raise
    except (OSError, EOFError, ValueError, pyarrow.ArrowException) as error:
        # ValueError covers pandas' parsing errors and bytes that are not UTF-8; EOFError, a gzip file cut short.
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{key}: {path.name} cannot be read as {ending} ({reason})") from error
    return Table(key, path.name, columns)


def find_file(folder: Path, split: str) -> Path | None:
    """The one file of a split in a folder, or None.

    Raises:
        UserError: if the folder is not there, or there are several files of that split.
    """
    if not folder.is_dir():
        raise UserError(f"data.folder: there is no folder {folder}; check the path")
    found = [path for ending in _FORMATS if (path := folder / f"{split}.{ending}").is_file()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"data.folder: {folder} has several files of {split} ({names}); leave one, or name it")
    return found[0] if found else None


def missing_split(folder: Path, split: str) -> UserError:
    """The mistake of a folder that lacks a split's file."""
    present = sorted(path.name for path in folder.iterdir() if path.is_file())[:10]
    return UserError(
        f"data.folder: no file {split}.* is in {folder}, which has: {', '.join(present) or 'no files'}; "
        f"allowed endings are {_ALLOWED}"
    )


def _ending(path: Path) -> str | None:
    # The longest ending first, so that .csv.gz is not taken for an unknown .gz.
    fitting = [ending for ending in _FORMATS if path.name.lower().endswith(f".{ending}")]
    return max(fitting, key=len, default=None)


def _read_json_lines(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    # Parsed line by line: pandas would turn texts that look like numbers or dates into such.
    rows: list[dict[str, Any]] = []
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as binary:
        lines = io.TextIOWrapper(cast(BinaryIO, binary), encoding="utf-8-sig")
        for line_number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(f"{key}: line {line_number} of {path.name} is not a JSON object; write one row a line")
            rows.append(row)
    if not rows:
        return {column: [] for column in wanted}
    present = list(dict.fromkeys(name for row in (rows[0], *rows[-1:]) for name in row))
    for source in wanted.values():
        if source not in present and any(source in row for row in rows):
            present.append(source)
    require_columns(wanted, present, key, path.name)
    return {column: [row.get(source) for row in rows] for column, source in wanted.items()}


def _read_csv(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    return _read_delimited(path, key, wanted, ",")


def _read_tsv(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    columns = _read_delimited(path, key, wanted, "\t")
    for column, values in columns.items():
        for row, value in enumerate(values, start=1):
            # A stray quotation mark would swallow all lines up to the next one.
            if value is not None and "\n" in value:
                raise UserError(
                    f'{key}: "{wanted[column]}" runs over several lines in row {row} of {path.name}; '
                    "close or remove its quotation mark, or use .jsonl"
                )
    return columns


def _read_delimited(path: Path, key: str, wanted: Mapping[str, str], separator: str) -> Columns:
    try:
        frame = pd.read_csv(
            path, sep=separator, dtype=object, keep_default_na=False, na_values=[""], encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        return {column: [] for column in wanted}
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes surplus cells for an index, which would shift every column by one.
        raise UserError(f"{key}: {path.name} has rows with more cells than its header has columns")
    require_columns(wanted, [str(name) for name in frame.columns], key, path.name)
    return {
        column: frame[source].astype(object).where(frame[source].notna(), None).tolist()
        for column, source in wanted.items()
    }


def _read_parquet(path: Path, key: str, wanted: Mapping[str, str]) -> Columns:
    with pyarrow.parquet.ParquetFile(path) as file:
        require_columns(wanted, file.schema_arrow.names, key, path.name)
        table = file.read(columns=list(dict.fromkeys(wanted.values())))
    return {column: table.column(source).to_pylist() for column, source in wanted.items()}


_READERS: dict[str, Callable[[Path, str, Mapping[str, str]], Columns]] = {
    "jsonl": _read_json_lines,
    "csv": _read_csv,
    "tsv": _read_tsv,
    "parquet": _read_parquet,
}
