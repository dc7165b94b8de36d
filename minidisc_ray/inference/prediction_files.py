"""Predictions as a file in the format of its ending: JSON Lines, CSV, TSV or Parquet."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.data.quoting import cut, is_unicode

_FORMATS = (".jsonl", ".csv", ".tsv", ".parquet")
_LINE_ENDS = ("\n", "\r")


def check_output(path: Path) -> None:
    """Check that a file of predictions can be written in the format of its ending.

    Raises:
        UserError: for another ending.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UserError(
            f"--output: {cut(path.name)} is not of a known format; allowed endings are {', '.join(_FORMATS)}"
        )


def prediction_bytes(frame: pd.DataFrame, ending: str) -> bytes:
    """The contents of a file of predictions.

    Args:
        frame: from ``predict``.
        ending: of the file's name, ``.csv`` for one. TSV has no quotation marks around cells, as it is read.

    Raises:
        UserError: if the format cannot hold a value.
    """
    try:
        match ending.lower():
            case ".parquet":
                stream = io.BytesIO()
                frame.to_parquet(stream, index=False)
                return stream.getvalue()
            case ".csv":
                return _csv(frame).encode()
            case ".tsv":
                return _tsv(frame).encode()
        return json_lines(frame).encode()
    except UserError:
        raise
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        # Arrow has several errors for columns of mixed types.
        raise UserError(
            f"--output: {ending} cannot hold this file's columns ({first_line(error)}); use .jsonl"
        ) from error


def json_lines(frame: pd.DataFrame) -> str:
    """A row of JSON a line; dates and other values that JSON lacks are texts."""
    lines = []
    for row in _rows(frame):
        values = dict(zip(frame.columns, row, strict=True))
        line = json.dumps(values, ensure_ascii=False, default=_text)
        # A lone surrogate, which UTF-8 cannot hold, stays an escape.
        lines.append(line if is_unicode(line) else json.dumps(values, default=_text))
    return "".join(f"{line}\n" for line in lines)


def _csv(frame: pd.DataFrame) -> str:
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    # The csv module leaves a lone carriage return without quotation marks, and readers would end the row there.
    enclosed = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for cells in (list(frame.columns), *(list(map(_cell, row)) for row in _rows(frame))):
        (enclosed if any("\r" in cell for cell in cells) else plain).writerow(cells)
    return stream.getvalue()


def _tsv(frame: pd.DataFrame) -> str:
    lines = []
    for number, cells in enumerate((list(frame.columns), *(list(map(_cell, row)) for row in _rows(frame)))):
        for column, cell in zip(frame.columns, cells, strict=True):
            if any(mark in cell for mark in ("\t", *_LINE_ENDS)):
                raise UserError(
                    f'--output: "{cut(column)}" has a tab or a line end in row {number}, which TSV cannot hold; use '
                    ".csv, .jsonl or .parquet"
                )
        lines.append("\t".join(cells))
    return "".join(f"{line}\n" for line in lines)


def _rows(frame: pd.DataFrame) -> Iterator[list[Any]]:
    """The rows' values, None for missing ones."""
    for row in zip(*(frame[column].tolist() for column in frame.columns), strict=True):
        yield [None if isinstance(value, float) and math.isnan(value) else value for value in row]


def _cell(value: Any) -> str:
    """A value as the text of a cell; lists and mappings as JSON."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, default=_text) if isinstance(value, list | dict) else _text(value)


def _text(value: Any) -> str:
    """A value as text; bytes as the text that they encode, with escapes for others."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
