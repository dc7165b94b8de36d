"""Work in a thread while the calling one checks on it, and what is written down when it is stopped."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.driver.lease import LeaseLostError

_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_TO_LEAVE = 2.0
_stopped = threading.Event()


def watched(action: Callable[..., None], arguments: Sequence[Any], check: Callable[[], None]) -> None:
    """Run an action in a thread, and check on it from this one.

    So Ctrl-C reaches our own handler at once: Ray installs its own only in main threads.
    """
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            action(*arguments)
        except BaseException as error:  # noqa: BLE001 - carried to the calling thread
            failures.append(error)

    _stopped.clear()
    thread = threading.Thread(target=guarded, name="minidisc-run", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_CHECKS)
            check()
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
def closing_ledgers_on_stop(*run_folders: Path) -> Iterator[None]:
    """Around a cluster: once it is left by a stop, what its processes held is given back, and the ledger says so."""
    try:
        yield
    except LeaseLostError:
        raise  # another driver has the run now
    except BaseException:
        for folder in run_folders:
            with suppress(OSError):
                Ledger(folder / "ledger.jsonl").close_open(None, "interrupted")
        raise
