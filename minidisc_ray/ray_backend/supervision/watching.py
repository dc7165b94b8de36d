"""Work in a thread while the calling one checks on it, and what is written down when it is stopped."""

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
    """Run an action in a thread, and check on it from this one.

    Yields what waits a moment, and says whether the action still ran before that. So Ctrl-C reaches our own handler at
    once: Ray installs its own only in main threads.
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
        # What is in Ray when Ray is shut down takes the process with it. Tune leaves at its next step.
        thread.join(_SECONDS_TO_LEAVE)
        raise
    if failures:
        raise failures[0]


def is_stopped() -> bool:
    """Whether this process's run was stopped by Ctrl-C or a look: what then loses its workers lost them to us."""
    return _stopped.is_set()


@contextmanager
def closing_runs_on_stop(runs: Sequence[PreparedRun]) -> Iterator[None]:
    """Around a cluster: once it is left by an exception, ledgers and progress say that what was running was stopped."""
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
