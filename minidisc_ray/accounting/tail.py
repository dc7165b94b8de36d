"""What was added to a ledger since it was read last, for processes that read a long one again and again."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.lines import is_sound
from minidisc_ray.files.reading import open_regular

# Ours have a few hundred bytes.
_LONGEST_LINE = 2**16
_MOST_BYTES_A_LOOK = 2**25


@dataclass
class _Place:
    """How far a file was read."""

    offset: int
    is_within_long_line: bool = False


class LedgerTail:
    """Follows a ledger from its present end on; each look reads what is new, and nothing else.

    A file that was cut is read from its beginning again. What a look does not come to is left for the next.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._places: dict[Path, _Place] = {}
        for path in ledger.files():
            with suppress(OSError):
                self._places[path] = _Place(path.stat().st_size)

    def new_entries(self) -> Iterator[dict[str, Any]]:
        """Sound lines in the order of their file; one that is still being written is left for the next look.

        Raises:
            OSError: if the storage refuses, or what was there is gone; what was not read comes with a later look.
        """
        for path in self._ledger.files():
            if path not in self._places and not path.exists():
                continue
            with open_regular(path) as file:
                place = self._places.setdefault(path, _Place(0))
                # One that was downloaded once more is another file each time, and goes on where the one before ended.
                if place.offset > os.fstat(file.fileno()).st_size:
                    place = self._places[path] = _Place(0)
                for line in _new_lines(file, place):
                    with suppress(ValueError, RecursionError):
                        entry = json.loads(line)
                        if is_sound(entry):
                            yield entry


def _new_lines(file: BufferedReader, place: _Place) -> Iterator[bytes]:
    file.seek(place.offset)
    end = place.offset + _MOST_BYTES_A_LOOK
    while place.offset < end and (line := file.readline(_LONGEST_LINE)):
        is_whole = line.endswith(b"\n")
        if not is_whole and len(line) < _LONGEST_LINE:
            return
        place.offset += len(line)
        if is_whole and not place.is_within_long_line:
            yield line
        place.is_within_long_line = not is_whole
