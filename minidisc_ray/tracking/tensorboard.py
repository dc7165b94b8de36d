"""Writes TensorBoard events to a storage that may be unreachable: they stay in memory, and training does not wait."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_SCHEME = "minidisc"


def summary_writer(folder: Path) -> "SummaryWriter":
    """A writer of events into a folder, which is created once the storage allows it."""
    from tensorboardX import SummaryWriter
    from tensorboardX.record_writer import register_writer_factory

    register_writer_factory(_SCHEME, _EventFiles())
    return SummaryWriter(f"{_SCHEME}:{folder}")


class EventFile:
    """An events file that is written when flushed; if the storage fails, the next flush writes the same bytes again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending = bytearray()
        self._written = 0

    def write(self, data: bytes) -> None:
        """Add bytes for the next flush."""
        self._pending += data

    def flush(self) -> None:
        """Append the pending bytes to those written before; keep them if the storage fails."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Following a link here would truncate a file outside the run.
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b") as file:
                # A partial event, left by a full disk, would make all later events unreadable.
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
    """Opens event files for tensorboardX, for paths that begin with this package's scheme."""

    def directory_check(self, path: str) -> None:
        """Do nothing: flushing creates the folder."""

    def open(self, path: str) -> EventFile:
        return EventFile(Path(path.removeprefix(f"{_SCHEME}:")))
