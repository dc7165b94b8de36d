"""Retries while a storage is away, read-only or full, so that a short outage does not end a run."""

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from minidisc_ray.log import logger

# Errors of a storage that is away or full; mistakes in the code or the recipe raise others.
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
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_PAUSE = wait_exponential(multiplier=0.5, max=15.0)
# Libraries written in Rust give the errno only in their message.
_ERRNO_IN_TEXT = re.compile(r"\(os error (\d+)\)|\bcode: (\d+)")

_Found = TypeVar("_Found")


class StorageError(OSError):
    """A storage could not be used, and was not back in time; the message is one sentence with path and reason."""

    def __str__(self) -> str:
        return str(self.strerror)


class Waiting:
    """Retries actions on one storage root.

    Attributes:
        root: the storage root.
        seconds: the longest wait; 0 gives up at once.
        has_files: whether the root is known to hold files. If so, a missing or empty root (a mount point that lost its
            mount) counts as away; if not, it is a new one.
        has_given_up: whether the last wait was too long. If so, the next action, for instance the ledger's last line,
            is tried once without waiting.
    """

    def __init__(self, root: Path, seconds: float = 0.0) -> None:
        self.root, self.seconds = root, seconds
        self.has_files = self.has_given_up = False

    def retry(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        """Call an action, again while the storage is away, read-only or full; returns what the action returns.

        Args:
            action: reads or writes, from the beginning at each call; it removes what a failed call left.
            place: the path, for messages.

        Raises:
            StorageError: if the storage is not back in time.
        """
        retrying = Retrying(
            retry=retry_if_exception(self._is_transient),
            stop=lambda state: self.has_given_up or self._left(state) <= 0,
            wait=lambda state: min(_PAUSE(state), max(0.0, self._left(state))),
            before_sleep=lambda state: self._log_waiting(state, place),
            retry_error_callback=lambda state: self._give_up(state, place),
        )
        found: _Found = retrying(self._attempt, action, place)
        self.has_given_up = False
        if retrying.statistics["attempt_number"] > 1:
            seconds = time.monotonic() - retrying.statistics["start_time"]
            logger.warning("%s: the storage is back after %.1f s, going on", place, seconds)
        return found

    def check_root(self) -> None:
        """Refuse a root that is away: folders created now would land on the disk below its mount point.

        Raises:
            FileNotFoundError: if the root is known to hold files, and is missing or empty.
        """
        if self.has_files and _is_away(self.root):
            raise FileNotFoundError(errno.ENOENT, "the storage root is gone or empty", str(self.root))

    def unwritable(self, error: OSError) -> str:
        """The sentence for a root that could not be written: why, and how long it was waited for."""
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if cause is None or (cause is not error and self.seconds):
            return str(error)
        return f"{self.root} cannot be written ({getattr(cause, 'strerror', None) or cause})"

    def _attempt(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        self.check_root()
        try:
            return action()
        except Exception as error:
            if isinstance(error, StorageError) or _errno_of(error) != errno.EFBIG:
                raise
            raise StorageError(
                errno.EFBIG, f"{place}: {os.strerror(errno.EFBIG)}; raise the limit on the size of files (ulimit -f)"
            ) from error

    def _left(self, state: RetryCallState) -> float:
        return self.seconds - (state.seconds_since_start or 0.0)

    def _is_transient(self, error: BaseException) -> bool:
        return not isinstance(error, StorageError) and self._transient_errno(error) is not None

    def _log_waiting(self, state: RetryCallState, place: Path | str) -> None:
        if state.attempt_number == 1:
            reason = self._reason(self._transient_errno(_error_of(state)))
            logger.warning("%s: %s; waiting up to %.3g s for the storage", place, reason, self._left(state))

    def _give_up(self, state: RetryCallState, place: Path | str) -> NoReturn:
        self.has_given_up = True
        error = _error_of(state)
        number = self._transient_errno(error)
        waited = f" for {self.seconds:g} s (compute.storage_patience_seconds)" if self.seconds else ""
        # Only a run waits; other commands, which list or read, have no checkpoint to go on from.
        again = "run again: the run goes on from its last checkpoint" if self.seconds else "give the command again"
        raise StorageError(
            number,
            f"{place}: the storage could not be used{waited}: {self._reason(number)}; free space or make it available, "
            f"and {again}",
        ) from error

    def _transient_errno(self, error: BaseException) -> int | None:
        """The errno of a transient error; None for every other error."""
        number = _errno_of(error)
        if number in TRANSIENT or (number in _MISSING and self.has_files and _is_away(self.root)):
            return number
        return None

    def _reason(self, number: int | None) -> str:
        return f"{self.root} is gone or empty" if number is None or number in _MISSING else os.strerror(number)


def reason_of(error: OSError) -> str:
    """The operating system's reason for an error, without the advice in a :class:`StorageError`."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return getattr(cause, "strerror", None) or str(error)


def _error_of(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error


def _errno_of(error: BaseException) -> int | None:
    """An error's errno, for other than OSErrors from the message; None where it has none."""
    if isinstance(error, OSError):
        return error.errno
    found = _ERRNO_IN_TEXT.search(str(error))
    return int(found[1] or found[2]) if found else None


def _is_away(root: Path) -> bool:
    """Whether a storage root cannot be listed, is missing, or is empty, as a mount point without its mount is."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError as error:
        return error.errno in _MISSING or error.errno in TRANSIENT
