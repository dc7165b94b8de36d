"""TensorBoard events on a storage that may be away: they wait in memory, and no training waits for them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_SCHEME = "minidisc"


def summary_writer(folder: Path) -> "SummaryWriter":
    """A writer of events into a folder, which is made as soon as the storage lets it."""
    from tensorboardX import SummaryWriter
    from tensorboardX.record_writer import register_writer_factory

    register_writer_factory(_SCHEME, _EventFiles())
    return SummaryWriter(f"{_SCHEME}:{folder}")


class EventFile:
    """A file of events that is written by flushing; what the storage does not take is tried again the next time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending = bytearray()
        self._written = 0

    def write(self, data: bytes) -> None:
        """Add bytes to what the next flush writes."""
        self._pending += data

    def flush(self) -> None:
        """Write what is pending, behind what was written whole."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A link that somebody put there would have another file cut.
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b") as file:
                # Half of an event, left where a disk was full, would hide all that follow it.
                file.truncate(self._written)
                file.seek(self._written)
                file.write(self._pending)
        except OSError:
            return
        self._written += len(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Flush for the last time."""
        self.flush()


class _EventFiles:
    """How tensorboardX comes by its files where a path begins with our scheme."""

    def directory_check(self, path: str) -> None:
        """Nothing: flushing makes the folder."""

    def open(self, path: str) -> EventFile:
        return EventFile(Path(path.removeprefix(f"{_SCHEME}:")))
