"""Waiting for a storage that is away, read-only or full for a while, so that it does not cost a run."""

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

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
_PAUSE = wait_exponential(multiplier=0.5, max=15.0)
# Libraries written in Rust have the system's error in words only.
_FOREIGN_ERROR = re.compile(r"\(os error (\d+)\)|\bcode: (\d+)")

_Found = TypeVar("_Found")


class StorageError(OSError):
    """A storage could not be used and did not come back in time: one sentence with the path and the reason."""

    def __str__(self) -> str:
        return str(self.strerror)


class Waiting:
    """How long to wait for one storage root, and whether that was in vain.

    Attributes:
        root: the storage root; that it is gone, or empty as a mount point is, counts as being away once it is watched.
        seconds: the longest wait; 0 gives up at once.
        is_watched: whether the root holds something already: until then an empty one is new.
        was_in_vain: what follows such a wait, the ledger's last line for instance, is tried once and not waited for.
    """

    def __init__(self, root: Path, seconds: float = 0.0) -> None:
        self.root, self.seconds = root, seconds
        self.is_watched = self.was_in_vain = False

    def retry(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        """What an action returns, tried again while the storage is away, read-only or full.

        Args:
            action: reads or writes, whole each time that it is called; it removes what a failed try left.
            place: what it is about, for the messages.

        Raises:
            StorageError: if the storage is not back in time.
        """
        retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            stop=lambda state: self.was_in_vain or self._left(state) <= 0,
            wait=lambda state: min(_PAUSE(state), max(0.0, self._left(state))),
            before_sleep=lambda state: self._say_waiting(state, place),
            retry_error_callback=lambda state: self._give_up(state, place),
        )
        found: _Found = retrying(self._attempt, action, place)
        self.was_in_vain = False
        if retrying.statistics["attempt_number"] > 1:
            seconds = time.monotonic() - retrying.statistics["start_time"]
            logger.warning("%s: the storage is back after %.1f s, going on", place, seconds)
        return found

    def check_is_there(self) -> None:
        """Refuse a root that is gone: folders made below it would land on whatever lies below its mount.

        Raises:
            FileNotFoundError: if it is watched, and gone or empty.
        """
        if self.is_watched and _is_away(self.root):
            raise FileNotFoundError(errno.ENOENT, "the storage root is gone or empty", str(self.root))

    def unwritable(self, error: OSError) -> str:
        """One sentence on a root that could not be written: how long it was waited for, if it was, and why."""
        cause = error.__cause__ if isinstance(error, StorageError) else error
        if cause is None or (cause is not error and self.seconds):
            return str(error)
        return f"{self.root} cannot be written ({getattr(cause, 'strerror', None) or cause})"

    def _attempt(self, action: Callable[[], _Found], place: Path | str) -> _Found:
        self.check_is_there()
        try:
            return action()
        except Exception as error:
            if isinstance(error, StorageError) or _system_number(error) != errno.EFBIG:
                raise
            raise StorageError(
                errno.EFBIG, f"{place}: {os.strerror(errno.EFBIG)}; raise the limit on the size of files (ulimit -f)"
            ) from error

    def _left(self, state: RetryCallState) -> float:
        return self.seconds - (state.seconds_since_start or 0.0)

    def _may_pass(self, error: BaseException) -> bool:
        return not isinstance(error, StorageError) and self._number(error) is not None

    def _say_waiting(self, state: RetryCallState, place: Path | str) -> None:
        if state.attempt_number == 1:
            reason = self._reason(self._number(_error_of(state)))
            logger.warning("%s: %s; waiting up to %.3g s for the storage", place, reason, self._left(state))

    def _give_up(self, state: RetryCallState, place: Path | str) -> NoReturn:
        self.was_in_vain = True
        error = _error_of(state)
        number = self._number(error)
        waited = f" for {self.seconds:g} s (compute.storage_patience_seconds)" if self.seconds else ""
        raise StorageError(
            number,
            f"{place}: the storage could not be used{waited}: {self._reason(number)}; make room or bring it back, and "
            "run again, which goes on from the last checkpoint",
        ) from error

    def _number(self, error: BaseException) -> int | None:
        """The system's number of an error that may pass; None for every other one."""
        number = _system_number(error)
        if number in TRANSIENT or (number in _GONE and self.is_watched and _is_away(self.root)):
            return number
        return None

    def _reason(self, number: int | None) -> str:
        return f"{self.root} is gone or empty" if number is None or number in _GONE else os.strerror(number)


def reason_of(error: OSError) -> str:
    """What the system says, without the advice that a :class:`StorageError` has for users who run something."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return getattr(cause, "strerror", None) or str(error)


def _error_of(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error


def _system_number(error: BaseException) -> int | None:
    """The system's number of an error, from its words where it is another library's; None where it has none."""
    if isinstance(error, OSError):
        return error.errno
    found = _FOREIGN_ERROR.search(str(error))
    return int(found[1] or found[2]) if found else None


def _is_away(root: Path) -> bool:
    """Whether a storage root is gone, or has become the empty folder below a mount that was taken away."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is None
    except OSError as error:
        return error.errno in _GONE or error.errno in TRANSIENT
