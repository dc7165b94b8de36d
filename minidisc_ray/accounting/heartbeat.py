"""A timer thread that writes the beats of open attempts, so that the end of a killed one is known within two seconds.

A beat is a line of about 95 bytes: one a second in an attempt's first minute, then one each 1.8 s. That is some 190 kB
an hour for each open attempt, twice that for a trial, which has a stage open and the hold around it.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

SECONDS_BETWEEN_FIRST_BEATS = 1.0
# Below two seconds, so that a slow write is still in time.
SECONDS_BETWEEN_BEATS = 1.8
_FIRST_SECONDS = 60.0


class Heartbeat:
    """Calls functions periodically, from a thread that lives while there is one to call.

    A call that raises OSError is skipped; the next one comes at its time.

    Args:
        first: seconds between two calls of a function in its first minute.
        later: seconds between two calls after that.
    """

    def __init__(self, first: float = SECONDS_BETWEEN_FIRST_BEATS, later: float = SECONDS_BETWEEN_BEATS) -> None:
        self._first, self._later = first, later
        self._calls: dict[str, tuple[Callable[[], None], float, float]] = {}  # function, added at, last called at
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def add(self, key: str, call: Callable[[], None]) -> None:
        """Start to call a function, first after one interval."""
        now = time.monotonic()
        with self._changed:
            self._calls[key] = (call, now, now)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="minidisc-beats", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, key: str) -> None:
        """Stop calling the function of a key; a call that has begun still completes."""
        with self._changed:
            self._calls.pop(key, None)
            self._changed.notify()

    def _due_at(self, added_at: float, called_at: float) -> float:
        return called_at + (self._first if called_at - added_at < _FIRST_SECONDS else self._later)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._calls:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [key for key, (_, added, called) in self._calls.items() if self._due_at(added, called) <= now]
                for key in due:
                    call, added_at, _ = self._calls[key]
                    self._calls[key] = (call, added_at, now)
                calls = [self._calls[key][0] for key in due]
                if not due:
                    next_at = min(self._due_at(added, called) for _, added, called in self._calls.values())
                    self._changed.wait(max(0.01, next_at - now))
            for call in calls:
                # Outside the lock: a storage that hangs must not block training in `add` and `remove`.
                with suppress(OSError):
                    call()


_heartbeat = Heartbeat()


def call_periodically(key: str, call: Callable[[], None]) -> None:
    """Call a function periodically in this process, until :func:`stop_calls` with the same key."""
    _heartbeat.add(key, call)


def stop_calls(key: str) -> None:
    """Stop calling the function of a key."""
    _heartbeat.remove(key)


def _reset_after_fork() -> None:
    """A forked process has no timer thread, and no attempts of its own."""
    global _heartbeat
    _heartbeat = Heartbeat()


os.register_at_fork(after_in_child=_reset_after_fork)
