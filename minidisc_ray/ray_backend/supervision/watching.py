"""Runs work in a thread while the calling thread monitors it, and marks runs as stopped."""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minidisc_ray.driver.lease import LeaseLostError
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.progress import mark_stopped

_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_TO_LEAVE = 2.0
# Exit code of a process that was stopped, as by Ctrl-C.
_STOPPED = 130
_stopped = threading.Event()
_left_behind = threading.Event()


@contextmanager
def in_thread(
    action: Callable[..., None], *arguments: Any, must_leave_within: float | None = None
) -> Iterator[Callable[[], bool]]:
    """Run an action in a thread; yields a function that waits 0.5 s, and returns whether the action ran before that.

    An error of the action is raised when the context ends. In the main thread Ray would install its own handler for
    Ctrl-C; so it reaches ours at once.

    Args:
        action: to run.
        arguments: of the action.
        must_leave_within: for an action that calls Ray again and again, and ends soon after a stop: after so many
            seconds see :func:`is_left_behind`. None: one that may wait in a single call of Ray, which ends with Ray.
    """
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            action(*arguments)
        except BaseException as error:  # noqa: BLE001 - carried to the calling thread
            failures.append(error)

    def is_running() -> bool:
        was_alive = thread.is_alive()
        thread.join(_SECONDS_BETWEEN_CHECKS)
        return was_alive

    _stopped.clear()
    thread = threading.Thread(target=guarded, name="minidisc-run", daemon=True)
    thread.start()
    try:
        yield is_running
    except BaseException:
        _stopped.set()
        # Tune's loop ends at its next step.
        thread.join(_SECONDS_TO_LEAVE if must_leave_within is None else must_leave_within)
        if must_leave_within is not None and thread.is_alive():
            _left_behind.set()
            code = _STOPPED if isinstance(sys.exc_info()[1], KeyboardInterrupt) else 1
            atexit.register(_exit_at_once, code)
        raise
    if failures:
        raise failures[0]


def is_left_behind() -> bool:
    """Whether a thread of a stopped run is still inside Ray, which must then stay connected until the process exits.

    A call of Ray during or after ``ray.shutdown`` ends the process with code 1 or by a signal. In a Ray job, where
    ``RAY_ADDRESS`` is set, one after it connects to the cluster again, while the interpreter is being torn down.
    """
    return _left_behind.is_set()


def _exit_at_once(code: int) -> None:
    """Exit without tearing down the interpreter, which native code of a thread that is left behind would not survive.

    The driver's actors, and a local Ray, end with its process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_stopped() -> bool:
    """Whether the run of this process was stopped, by Ctrl-C or a request; trials then lose their workers to that."""
    return _stopped.is_set()


@contextmanager
def closing_runs_on_stop(runs: Sequence[PreparedRun]) -> Iterator[None]:
    """On an exception, mark running trials as interrupted in ledgers and progress; enter it before the cluster."""
    try:
        yield
    except LeaseLostError:
        raise  # another driver has the runs now
    except BaseException:
        for run in runs:
            with suppress(OSError):
                run.ledger.close_open(None, "interrupted")
            mark_stopped(run.storage, run.run_folder)
        raise
