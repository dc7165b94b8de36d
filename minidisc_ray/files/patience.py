"""Waiting for a storage that is away, read-only or full for a while, so that it does not cost a run."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from minidisc_ray.log import logger

# What a storage shows while it is away or full, and a mistake of ours or the user's does not.
TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EROFS,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_GONE = (errno.ENOENT, errno.ENOTDIR)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
# Libraries written in Rust tell of the system's error in words only.
_FOREIGN_ERROR = re.compile(r"\(os error (\d+)\)|\bcode: (\d+)")

_Found = TypeVar("_Found")


class StorageError(OSError):
    """A storage could not be used and did not come back in time: one sentence with the path and the reason."""

    def __str__(self) -> str:
        return str(self.strerror)


class _Storage:
    """The storage of the run that this process works on; outside of runs nothing waits."""

    root: Path | None = None
    patience_seconds: float = 0.0
    # What follows a wait in vain, the ledger's last line for instance, is tried once and not waited for again.
    was_given_up: bool = False


def use_storage(root: Path | None, patience_seconds: float) -> None:
    """Say where this process's run is kept, and how long to wait for that storage when it is away or full.

    Args:
        root: the storage root, which holds something already; None where no root is watched.
        patience_seconds: the longest wait; 0 gives up at once.
    """
    _Storage.root, _Storage.patience_seconds, _Storage.was_given_up = root, patience_seconds, False


@contextmanager
def restoring_storage() -> Iterator[None]:
    """End what :func:`use_storage` says within it: what the process does next has the storage that it had before."""
    before = _Storage.root, _Storage.patience_seconds, _Storage.was_given_up
    try:
        yield
    finally:
        _Storage.root, _Storage.patience_seconds, _Storage.was_given_up = before


def retry_storage(action: Callable[[], _Found], path: Path | str) -> _Found:
    """What an action returns, tried again while the storage below it is away, read-only or full.

    Args:
        action: reads or writes, whole each time that it is called; it removes what a failed try left.
        path: what it is about, for the messages.

    Raises:
        StorageError: if the storage is not back within the patience of :func:`use_storage`.
    """
    started, pause, is_waiting = time.monotonic(), _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            found = action()
        except StorageError:
            raise
        except Exception as error:
            number = _transient_number(error)
            if number is None:
                raise
            reason = _reason(number)
            left = _Storage.patience_seconds - (time.monotonic() - started)
            if left <= 0 or _Storage.was_given_up:
                _Storage.was_given_up = True
                raise StorageError(number, _sentence(path, reason)) from error
            if not is_waiting:
                logger.warning("%s: %s; waiting up to %.3g s for the storage", path, reason, left)
                is_waiting = True
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            _Storage.was_given_up = False
            if is_waiting:
                logger.warning("%s: the storage is back after %.1f s, going on", path, time.monotonic() - started)
            return found


def unwritable(root: Path, error: OSError) -> str:
    """One sentence on a storage root that could not be written: how long it was waited for, if it was, and why."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    if cause is None or (cause is not error and _Storage.patience_seconds):
        return str(error)
    return f"{root} cannot be written ({getattr(cause, 'strerror', None) or cause})"


def reason_of(error: OSError) -> str:
    """What the system says, without the advice that a :class:`StorageError` has for users who run something."""
    if isinstance(error, StorageError) and error.errno is not None:
        return _reason(error.errno)
    return error.strerror or str(error)


def wait_for_storage(path: Path) -> None:
    """Return once the storage of :func:`use_storage`, if it holds a path, is there and can be written.

    Raises:
        StorageError: if it does not come back within the patience.
    """
    root = _Storage.root
    if root is not None and path.is_relative_to(root):
        retry_storage(lambda: _refuse_unwritable(root), root)


def _refuse_unwritable(root: Path) -> None:
    check_storage_is_there(root)
    if not os.access(root, os.W_OK | os.X_OK):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(root))


def check_storage_is_there(path: Path) -> None:
    """Refuse to make folders below a storage root that is gone: they would land on whatever lies below its mount.

    Raises:
        FileNotFoundError: if the root of :func:`use_storage` holds ``path`` and is gone, or empty as a mount point is.
    """
    root = _Storage.root
    if root is not None and path.is_relative_to(root) and _is_away(root):
        raise FileNotFoundError(errno.ENOENT, "the storage root is gone or empty", str(root))


def _transient_number(error: BaseException) -> int | None:
    """The system's number of an error that may pass; None for every other one."""
    number = error.errno if isinstance(error, OSError) else _foreign_number(str(error))
    if number in TRANSIENT:
        return number
    root = _Storage.root
    if number in _GONE and root is not None and _is_away(root):
        return number
    return None


def _foreign_number(text: str) -> int | None:
    found = _FOREIGN_ERROR.search(text)
    return int(found[1] or found[2]) if found else None


def _is_away(root: Path) -> bool:
    """Whether a storage root is gone, or has become the empty folder below a mount that was taken away."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError as error:
        return error.errno in _GONE or error.errno in TRANSIENT


def _reason(number: int) -> str:
    if number in _GONE:
        return f"{_Storage.root} is gone or empty"
    return os.strerror(number)


def _sentence(path: Path | str, reason: str) -> str:
    waited = (
        f" for {_Storage.patience_seconds:g} s (compute.storage_patience_seconds)" if _Storage.patience_seconds else ""
    )
    return (
        f"{path}: the storage could not be used{waited}: {reason}; make room or bring it back, and run again, which "
        "goes on from the last checkpoint"
    )
