"""Rows of CSV and TSV files.

In CSV, quotation marks may enclose a cell, which may then contain separators and line ends (RFC 4180). In TSV a
quotation mark is text, as in all files of GLUE. A recipe can override both (``data.quoting``). A file is read in one of
these ways, never in a mixture: if that does not give rows of equal width, the file is refused.
"""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import refuse_repeated, require_columns, with_other_columns
from minidisc_ray.data.unpacking import opened

Quoting = Literal["csv", "none"]
_OTHER: dict[Quoting, Quoting] = {"csv": "none", "none": "csv"}
_MAX_COLUMNS = 10_000
# If one cell contains this many rows of the right width, it is no coincidence.
_MANY_ROWS = 3
_MEANING: dict[Quoting, str] = {"csv": "quotation marks enclose cells", "none": "quotation marks are text"}


@dataclass(frozen=True)
class _Reading:
    """A file parsed with one meaning of quotation marks.

    Attributes:
        quoting: that meaning.
        header: the names of the columns.
        rows: the cells of each row, up to the first faulty row.
        flaw: what is wrong with the faulty row; None if all rows have the header's width.
    """

    quoting: Quoting
    header: list[str]
    rows: list[list[str]]
    flaw: str | None


def read_delimited(
    path: Path,
    key: str,
    wanted: Mapping[str, str],
    separator: str,
    quoting: Quoting | None,
    quoting_key: str,
    with_others: bool = False,
) -> tuple[dict[str, list[Any]], str | None]:
    """The wanted columns, and a note on cells of them that may be misread, or None; empty cells are None.

    Args:
        path: of the file, possibly compressed (``.gz``).
        key: of the recipe, for messages.
        wanted: task column -> file column.
        separator: between cells.
        quoting: csv: quotation marks enclose cells; none: they are text; None: csv for commas, none for tabs.
        quoting_key: the key or option that sets ``quoting``, for messages.
        with_others: give the file's other columns too, all in the file's order.

    Raises:
        UserError: if a column is missing or repeated, rows differ in width, or rows may have been lost inside a
            quoted cell.
    """
    style = quoting or ("csv" if separator == "," else "none")
    with opened(path, key) as binary:
        text = binary.read().decode("utf-8-sig")
    name = cut(path.name)
    found = _read(text, separator, style, key, name)
    if not found.header:
        return {column: [] for column in wanted}, None
    refuse_repeated([cell for cell in found.header if cell or with_others], key, name)
    if found.flaw is not None:
        raise UserError(_uneven(found, _read(text, separator, _OTHER[style], key, name), key, name, quoting_key))
    if style == "none" and any(
        f'"{source}"' in found.header for source in wanted.values() if source not in found.header
    ):
        raise UserError(
            f"{key}: the columns of {name} are named in quotation marks, which are text here; set "
            f"{_setting(quoting_key, 'csv')} if they enclose cells"
        )
    require_columns(wanted, found.header, key, name)
    if quoting is None and style == "csv" and (row := _suspicious_row(text, separator, found, key, name)) is not None:
        raise UserError(
            f"{key}: row {row} of {name} runs over several lines that could be rows of their own; set "
            f"{_setting(quoting_key, 'none')} if quotation marks are text, csv if they enclose cells"
        )
    chosen = with_other_columns(wanted, found.header) if with_others else wanted
    places = {column: found.header.index(source) for column, source in chosen.items()}
    columns: dict[str, list[Any]] = {
        column: [row[place] or None for row in found.rows] for column, place in places.items()
    }
    read = {column: columns[column] for column in wanted}
    if quoting is None and style == "none" and (enclosed := _enclosed_cells(read)):
        note = (
            f"{key}: {enclosed:,} cells of {name} are enclosed in quotation marks, which are read as text; "
            f"set {_setting(quoting_key, 'csv')} to remove them"
        )
        return columns, note
    return columns, None


def _read(text: str, separator: str, quoting: Quoting, key: str, name: str) -> _Reading:
    cells = _quoted_rows(text, separator) if quoting == "csv" else _plain_rows(text, separator)
    header: list[str] = []
    rows: list[list[str]] = []
    try:
        for row in cells:
            # Blank lines are skipped, except in a file of one column: a line of spaces is a text there, and "" a
            # missing one.
            if not row or (len(header) != 1 and len(row) == 1 and not row[0].strip()):
                continue
            if not header:
                header = row
                if len(header) > _MAX_COLUMNS:
                    raise UserError(
                        f"{key}: {name} has {len(header):,} columns, more than the {_MAX_COLUMNS:,} allowed; remove "
                        "those that the task does not read"
                    )
            elif len(row) == len(header):
                rows.append(row)
            else:
                flaw = f"row {len(rows) + 1} has {len(row)} cells and the header {len(header)}"
                return _Reading(quoting, header, rows, flaw)
    except csv.Error as error:
        flaw = f"row {len(rows) + 1} has a quotation mark that encloses no cell ({error})"
        return _Reading(quoting, header or [""], rows, flaw)
    return _Reading(quoting, header, rows, None)


def _plain_rows(text: str, separator: str) -> Iterator[list[str]]:
    # Only a line feed ends a line: other characters at which str.splitlines splits may be part of a text.
    for line in text.split("\n"):
        text_of_line = line.removesuffix("\r")
        yield text_of_line.split(separator) if text_of_line else []


def _quoted_rows(text: str, separator: str) -> Iterator[list[str]]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    finally:
        csv.field_size_limit(before)


def _uneven(found: _Reading, other: _Reading, key: str, name: str, quoting_key: str) -> str:
    """The message for rows of unequal width: suggests the other meaning of quotation marks if that one fits."""
    text = f"{key}: {name} has rows of unequal width where {_MEANING[found.quoting]}: {found.flaw}"
    setting = f"{_setting(quoting_key, other.quoting)} ({_MEANING[other.quoting]})"
    if other.flaw is None and other.header:
        return f"{text}; set {setting}, which gives rows of equal width"
    return f"{text}; with {setting}, {other.flaw}; correct the file, or use .jsonl"


def _setting(key: str, quoting: Quoting) -> str:
    """The setting as a user writes it: a key of a recipe, or a command line option."""
    return f"{key} {quoting}" if key.startswith("--") else f"{key}: {quoting}"


def _suspicious_row(text: str, separator: str, found: _Reading, key: str, name: str) -> int | None:
    """The first row (from 1) whose quoted cell spans lines that may be rows of their own; None if there is none.

    A line end in a quoted cell is valid CSV, but a stray quotation mark produces one too, and loses the rows up to the
    next mark. It is taken for stray only if reading quotation marks as text gives rows of equal width and more of them,
    and the additional rows are many or have first or last cells as the file's other rows do.
    """
    width = len(found.header)
    broken = [place for place, row in enumerate(found.rows) if any("\n" in cell or "\r" in cell for cell in row)]
    if not broken or width == 1:
        return None
    plain = _read(text, separator, "none", key, name)
    added = len(plain.rows) - len(found.rows)
    if plain.flaw is not None or added <= 0:
        return None
    firsts, lasts = ({row[place] for row in found.rows} for place in (0, -1))
    is_alike = {row[-1] for row in plain.rows} <= lasts or {row[0] for row in plain.rows} <= firsts
    return broken[0] + 1 if is_alike or added >= _MANY_ROWS else None


def _enclosed_cells(columns: Mapping[str, Sequence[Any]]) -> int:
    """How many cells a CSV writer has enclosed in quotation marks; 0 if a mark stands anywhere else."""
    marked = [cell for cells in columns.values() for cell in cells if cell is not None and '"' in cell]
    is_written = all(
        len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "") for cell in marked
    )
    return len(marked) if is_written else 0
