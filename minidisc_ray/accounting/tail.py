"""What was added to a ledger since it was looked at last, for whoever looks at a long one again and again."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.lines import is_sound
from minidisc_ray.files.reading import open_regular


class LedgerTail:
    """Follows a ledger from its present end on; each look reads what is new, and nothing else."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read_to: dict[Path, int] = {}
        for path in ledger.files():
            with suppress(OSError):
                self._read_to[path] = path.stat().st_size

    def new_entries(self) -> Iterator[dict[str, Any]]:
        """Sound lines in the order of their file; one that is still being written is left for the next look.

        Raises:
            OSError: if the storage refuses, or what was there is gone; what was not read comes with a later look.
        """
        for path in self._ledger.files():
            if path not in self._read_to and not path.exists():
                continue
            with open_regular(path) as file:
                file.seek(self._read_to.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read_to[path] = self._read_to.get(path, 0) + len(line)
                    with suppress(ValueError, RecursionError):
                        entry = json.loads(line)
                        if is_sound(entry):
                            yield entry
