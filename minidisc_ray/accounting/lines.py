"""Which lines of a ledger can be what an attempt wrote; a damaged one costs that line and nothing else."""

import errno
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minidisc_ray.files.reading import NotAFileError, open_regular

# A trial that ran for a year would have some 3 GB of beats: no ledger is larger.
_MOST_BYTES = 2**30
# Ours have a few hundred bytes.
_LONGEST_LINE = 2**16
# No cluster has more devices, no attempt takes longer, and no clock shows a later time; so that sums stay finite.
_LARGEST = {
    "time": 1e11,
    "seconds": 1e11,
    "devices": 1e9,
    "joules": 1e21,
    "number": 1e15,
    "step": 1e15,
    "worker": 1e9,
    "pid": 1e9,
}
# Without these, as they are, an attempt has no place.
_NAMES = ("name", "trial", "device_type")


def sound_lines(path: Path, holding: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A ledger file's lines that can be; only those that hold some texts, where texts are given."""
    for line in _lines(path):
        if any(text not in line for text in holding):
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if is_sound(entry):
            yield entry


def _lines(path: Path) -> Iterator[str]:
    """A file's lines, one in memory at a time; none where there is no file, and too long ones are passed over.

    Raises:
        NotAFileError: if it is no regular file, or larger than any ledger.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise NotAFileError(errno.EFBIG, f"larger than {_MOST_BYTES / 2**20:g} MiB", str(path))
        is_within_long_line = False
        while raw := file.readline(_LONGEST_LINE):
            is_whole = raw.endswith(b"\n") or len(raw) < _LONGEST_LINE
            if is_whole and not is_within_long_line:
                yield raw.decode("utf-8", errors="replace")
            is_within_long_line = not is_whole


def is_sound(line: Any) -> bool:
    """Whether a line's values can be: an attempt and a time, numbers that are finite and no larger than any cluster's.

    A number of another type counts as one that is not there, save for the time.
    """
    if not isinstance(line, dict) or not isinstance(line.get("attempt"), str) or number_of(line.get("time")) is None:
        return False
    return (
        all(isinstance(line.get(key, ""), str) for key in _NAMES)
        and all(_is_text(value) for value in line.values() if isinstance(value, str))
        and all(_is_possible(line[key], largest) for key, largest in _LARGEST.items() if key in line)
    )


def number_of(value: Any) -> float | None:
    """A finite number as a float; None for everything else, truth values and integers that no float holds too."""
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
    number = number_of(value)
    return number is not None and abs(number) <= largest


def _is_text(text: str) -> bool:
    """Half of a surrogate pair, which JSON may spell, can be written nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
