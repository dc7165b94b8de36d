"""Reads the valid lines of a ledger; a damaged line is skipped, and the others still count."""

import errno
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minidisc_ray.files.reading import NotAFileError, open_regular

# A trial adds 380 kB an hour: two months of a hundred at once. Lines are read one by one.
_MAX_BYTES = 2**36
# Real lines have a few hundred bytes.
_MAX_LINE_BYTES = 2**16
# Above what any cluster has, so that sums of damaged lines stay finite.
_MAX_VALUES = {
    "time": 1e11,
    "seconds": 1e11,
    "devices": 1e9,
    "joules": 1e21,
    "number": 1e15,
    "step": 1e15,
    "worker": 1e9,
    "pid": 1e9,
}
# An attempt is found by these, so a line in which one is no text is damaged.
_TEXT_KEYS = ("name", "trial", "device_type")


def valid_lines(path: Path, holding: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A ledger file's valid lines.

    Args:
        path: of the file.
        holding: texts that a line must contain; checked before it is parsed.
    """
    for line in _lines(path):
        if any(text not in line for text in holding):
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if is_valid_line(entry):
            yield entry


def _lines(path: Path) -> Iterator[str]:
    """A file's lines, one in memory at a time; none where there is no file, and lines that are too long are skipped.

    Raises:
        NotAFileError: if it is no regular file, or larger than any ledger.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise NotAFileError(errno.EFBIG, f"larger than {_MAX_BYTES / 2**20:g} MiB", str(path))
        is_within_long_line = False
        while raw := file.readline(_MAX_LINE_BYTES):
            is_whole = raw.endswith(b"\n") or len(raw) < _MAX_LINE_BYTES
            if is_whole and not is_within_long_line:
                yield raw.decode("utf-8", errors="replace")
            is_within_long_line = not is_whole


def is_valid_line(line: Any) -> bool:
    """Whether a line names an attempt and a time, its texts are encodable, and its numbers finite and not too large.

    Apart from the time, a number of another type counts as missing.
    """
    if (
        not isinstance(line, dict)
        or not isinstance(line.get("attempt"), str)
        or finite_number(line.get("time")) is None
    ):
        return False
    return (
        all(isinstance(line.get(key, ""), str) for key in _TEXT_KEYS)
        and all(_is_text(value) for value in line.values() if isinstance(value, str))
        and all(_is_possible(line[key], largest) for key, largest in _MAX_VALUES.items() if key in line)
    )


def finite_number(value: Any) -> float | None:
    """A finite number as a float; None for all else, also for booleans and integers too large for a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_possible(value: Any, largest: float) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    number = finite_number(value)
    return number is not None and abs(number) <= largest


def _is_text(text: str) -> bool:
    """Whether a text can be encoded; JSON may contain half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
