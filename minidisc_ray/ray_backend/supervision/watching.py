"""Runs work in a thread while the calling thread monitors it, and marks runs as stopped."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minidisc_ray.driver.lease import LeaseLostError
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.progress import mark_stopped

_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_TO_LEAVE = 2.0
_stopped = threading.Event()


@contextmanager
def in_thread(action: Callable[..., None], *arguments: Any) -> Iterator[Callable[[], bool]]:
    """Run an action in a thread; yields a function that waits 0.5 s, and returns whether the action ran before that.

    An error of the action is raised when the context ends. In the main thread Ray would install its own handler for
    Ctrl-C; so it reaches ours at once.
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
        # A thread inside Ray during `ray.shutdown` would abort the process; Tune's loop ends at its next step.
        thread.join(_SECONDS_TO_LEAVE)
        raise
    if failures:
        raise failures[0]


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
