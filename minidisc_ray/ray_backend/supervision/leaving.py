"""A worker's process that is asked to leave: it writes a checkpoint and goes, and what hangs is made to go."""

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

from minidisc_ray.training.notice import request_stop

# What a process that SIGTERM ended says by its exit code, and one whose training no longer moved.
EXIT_PREEMPTED = 143
EXIT_STALLED = 1
# Clouds give 30 s (GCP) to 120 s (AWS) of notice; a checkpoint that is not written by then will not be.
_GRACE_SECONDS = 25.0
_SECONDS_BETWEEN_LOOKS = 1.0
# The timer that needs no interpreter comes after the watcher: it reads the frames of threads that still run,
# and one that changes its frame meanwhile can end the process by SIGSEGV, with no traceback in the log.
_TIMER_MARGIN_SECONDS = 5.0

_is_at_work = threading.Event()


def stop_on_sigterm() -> None:
    """Have SIGTERM ask training to stop at its next step; a process that trains nothing goes at once.

    Only the main thread of a process may call it; Ray runs an actor's methods there.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:  # noqa: ARG001
    if not _is_at_work.is_set():
        os._exit(EXIT_PREEMPTED)
    request_stop()
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

    A thread watches, and leaves a traceback of every thread in the worker's log. Where training keeps the
    interpreter's lock, so that no thread can watch, :mod:`faulthandler`'s own timer does the same 5 s later.

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
        _arm_timer(stall_seconds, _log_file())
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
            if left <= 0:
                _end_stalled(stall_seconds, log)
            _arm_timer(left, log)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _arm_timer(seconds: float, log: Any) -> None:
    faulthandler.dump_traceback_later(seconds + _TIMER_MARGIN_SECONDS, exit=True, file=log)


def _end_stalled(stall_seconds: float, log: Any) -> None:
    """Write where every thread stands, and end this process; the calling thread holds the interpreter's lock."""
    log.write(f"Timeout: no progress for {stall_seconds:g} s\n")
    log.flush()
    faulthandler.dump_traceback(file=log, all_threads=True)
    os._exit(EXIT_STALLED)


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
