"""Reads what was added to a ledger since the last read, for processes that poll a long one."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.lines import is_valid_line
from minidisc_ray.files.reading import open_regular

# Real lines have a few hundred bytes.
_MAX_LINE_BYTES = 2**16
_MAX_BYTES_PER_READ = 2**25


@dataclass
class _Position:
    """How far into a file was read."""

    offset: int
    is_within_long_line: bool = False


class LedgerTail:
    """Follows a ledger from where it ends now; each read returns only what is new.

    A file that became shorter is read from its beginning again. A read is bounded; the next one goes on from there.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._positions: dict[Path, _Position] = {}
        for path in ledger.files():
            with suppress(OSError):
                self._positions[path] = _Position(path.stat().st_size)

    def new_entries(self) -> Iterator[dict[str, Any]]:
        """Valid new lines in the order of their file; one that is still being written is left for the next read.

        Raises:
            OSError: if a file cannot be read, or is gone; a later read returns what this one did not.
        """
        for path in self._ledger.files():
            if path not in self._positions and not path.exists():
                continue
            with open_regular(path) as file:
                position = self._positions.setdefault(path, _Position(0))
                # A file fetched from a bucket is replaced each time, so only a smaller size shows that it was cut.
                if position.offset > os.fstat(file.fileno()).st_size:
                    position = self._positions[path] = _Position(0)
                for line in _new_lines(file, position):
                    with suppress(ValueError, RecursionError):
                        entry = json.loads(line)
                        if is_valid_line(entry):
                            yield entry


def _new_lines(file: BufferedReader, position: _Position) -> Iterator[bytes]:
    file.seek(position.offset)
    end = position.offset + _MAX_BYTES_PER_READ
    while position.offset < end and (line := file.readline(_MAX_LINE_BYTES)):
        is_whole = line.endswith(b"\n")
        if not is_whole and len(line) < _MAX_LINE_BYTES:
            return
        position.offset += len(line)
        if is_whole and not position.is_within_long_line:
            yield line
        position.is_within_long_line = not is_whole
