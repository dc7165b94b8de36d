"""Ends worker processes: after SIGTERM with a checkpoint, and without one when training hangs."""

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

# Exit codes of a process that SIGTERM ended, and of one whose training hung.
EXIT_PREEMPTED = 143
EXIT_STALLED = 1
# Below the notice that clouds give: 30 s (GCP) to 120 s (AWS).
_GRACE_SECONDS = 25.0
_SECONDS_BETWEEN_CHECKS = 1.0
# The watcher thread acts first. faulthandler's timer reads the frames of running threads without the interpreter's
# lock, and may end the process by SIGSEGV, with no traceback in the log.
_TIMER_MARGIN_SECONDS = 5.0

_is_training = threading.Event()


def stop_on_sigterm() -> None:
    """Install a SIGTERM handler: training stops at its next step; a process that does not train exits at once.

    Does nothing outside the main thread, which alone may install one; Ray runs an actor's methods there.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:  # noqa: ARG001
    if not _is_training.is_set():
        os._exit(EXIT_PREEMPTED)
    request_stop()
    threading.Thread(target=_exit_after_grace, name="minidisc-leave", daemon=True).start()


def _exit_after_grace() -> None:
    time.sleep(_GRACE_SECONDS)
    os._exit(EXIT_PREEMPTED)


def start_stall_timer(stall_seconds: float | None) -> None:
    """End this process unless :func:`watch_training` begins, or :func:`cancel_stall_timer` is called, in time.

    Code before training may hang too, for instance where a thread finds no memory to start.
    """
    if stall_seconds is not None:
        faulthandler.dump_traceback_later(stall_seconds, exit=True, file=_log_file())


def cancel_stall_timer() -> None:
    """Cancel the timer of :func:`start_stall_timer`."""
    faulthandler.cancel_dump_traceback_later()


def exit_preempted() -> None:
    """End this process after its checkpoint was written, without Ray's own retry."""
    sys.stderr.flush()
    os._exit(EXIT_PREEMPTED)


@contextmanager
def watch_training(progress_file: Path, stall_seconds: float | None) -> Iterator[None]:
    """Within the context, SIGTERM waits for a checkpoint, and the process ends when its progress does not change.

    A thread watches the progress, and writes a traceback of every thread to the worker's log. Where training keeps the
    interpreter's lock, so that no thread can run, :mod:`faulthandler`'s own timer does the same 5 s later.

    Args:
        progress_file: that the training rewrites.
        stall_seconds: how long it may stay unchanged; None has no limit.
    """
    _is_training.set()
    is_over = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(progress_file, stall_seconds, is_over), name="minidisc-watch", daemon=True
    )
    if stall_seconds is not None:
        # Before the watcher: code that keeps the interpreter's lock would not let the thread start.
        _arm_timer(stall_seconds, _log_file())
        watcher.start()
    try:
        yield
    finally:
        is_over.set()
        if stall_seconds is not None:
            watcher.join()
        _is_training.clear()


def _watch(progress_file: Path, stall_seconds: float | None, is_over: threading.Event) -> None:
    assert stall_seconds is not None
    log = _log_file()
    seen, moved_at = _modified_at(progress_file), time.monotonic()
    try:
        while not is_over.wait(_SECONDS_BETWEEN_CHECKS):
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
    """Write a traceback of every thread, and end this process; safe, since this thread holds the interpreter's lock."""
    log.write(f"Timeout: no progress for {stall_seconds:g} s\n")
    log.flush()
    faulthandler.dump_traceback(file=log, all_threads=True)
    os._exit(EXIT_STALLED)


def _modified_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        # While the storage is away there is no progress; `Storage` limits how long a run waits for it.
        return None


def _log_file() -> Any:
    """The worker's stderr as a stream with a file descriptor; Ray and pytest replace ``sys.stderr`` by one without."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return sys.__stderr__
    return sys.stderr
