"""A worker's process that is told to leave: it writes a checkpoint and goes, and what hangs is made to go."""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minidisc_ray.training.notice import ask_to_stop

# What a process that SIGTERM ended says by its exit code, and one whose training no longer moved.
EXIT_PREEMPTED = 143
# Clouds give 30 s (GCP) to 120 s (AWS) of notice; a checkpoint that is not written by then will not be.
_GRACE_SECONDS = 25.0
_SECONDS_BETWEEN_LOOKS = 1.0

_is_at_work = threading.Event()


def heed_sigterm() -> None:
    """Have SIGTERM ask training to stop at its next step; a process that trains nothing goes at once.

    Only the main thread of a process may call it; Ray runs an actor's methods there.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:  # noqa: ARG001
    if not _is_at_work.is_set():
        os._exit(EXIT_PREEMPTED)
    ask_to_stop()
    threading.Thread(target=_leave_late, name="minidisc-leave", daemon=True).start()


def _leave_late() -> None:
    time.sleep(_GRACE_SECONDS)
    os._exit(EXIT_PREEMPTED)


def expect_work(stall_seconds: float | None) -> None:
    """End this process unless its training begins, or :func:`expect_nothing` is called, in time.

    What comes before training hangs as well: a thread that finds no memory to begin in is waited for for ever.
    """
    if stall_seconds is not None:
        faulthandler.dump_traceback_later(stall_seconds, exit=True, file=_log_file())


def expect_nothing() -> None:
    """This process may stand still from now on."""
    faulthandler.cancel_dump_traceback_later()


def leave() -> None:
    """End this process, its checkpoint written: no retry of Ray's own, no other trial in it."""
    sys.stderr.flush()
    os._exit(EXIT_PREEMPTED)


@contextmanager
def at_work(progress_file: Path, stall_seconds: float | None) -> Iterator[None]:
    """While training runs: SIGTERM waits for its checkpoint, and a process whose progress stands still is ended.

    The end comes from :mod:`faulthandler`'s own thread, which needs no lock of the interpreter's, and leaves a
    traceback of every thread in the worker's log.

    Args:
        progress_file: what the training replaces as it goes.
        stall_seconds: how long it may stand still; None is for ever.
    """
    _is_at_work.set()
    is_over = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(progress_file, stall_seconds, is_over), name="minidisc-watch", daemon=True
    )
    if stall_seconds is not None:
        # Armed before anything runs: what takes the interpreter's lock and keeps it lets no watcher begin.
        faulthandler.dump_traceback_later(stall_seconds, exit=True, file=_log_file())
        watcher.start()
    try:
        yield
    finally:
        is_over.set()
        if stall_seconds is not None:
            watcher.join()
        _is_at_work.clear()


def _watch(progress_file: Path, stall_seconds: float | None, is_over: threading.Event) -> None:
    assert stall_seconds is not None
    log = _log_file()
    seen, moved_at = _modified_at(progress_file), time.monotonic()
    try:
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            now = _modified_at(progress_file)
            if now != seen:
                seen, moved_at = now, time.monotonic()
            left = stall_seconds - (time.monotonic() - moved_at)
            # Armed anew at each look, so that it also goes off when this thread can look no more.
            faulthandler.dump_traceback_later(max(left, 0.01), exit=True, file=log)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _modified_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        # While the storage is away nothing can move; the patience with storage is another one's.
        return None


def _log_file() -> Any:
    """A stream with a descriptor: Ray, and tests, put objects without one in the place of stderr."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return sys.__stderr__
    return sys.stderr
