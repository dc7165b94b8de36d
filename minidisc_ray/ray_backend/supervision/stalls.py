"""Finds worker processes that are frozen, from the driver, and ends them on their nodes.

A worker whose training hangs ends itself (:mod:`minidisc_ray.ray_backend.supervision.leaving`); a process that is
frozen as a whole cannot. Two signs show that a process lives: the progress of its trial, and the beats of its hold,
which come from a timer thread, between two trials too (:mod:`minidisc_ray.accounting.heartbeat`). A process is ended
when one of its signs does not change for too long.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.tail import LedgerTail
from minidisc_ray.driver.driver import process_start
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json
from minidisc_ray.log import logger
from minidisc_ray.run_files.progress import Progress

# Ids of Ray's nodes; a damaged file may contain anything. All f is Ray's nil id.
_NODE_ID = re.compile(r"(?!f{56})[0-9a-f]{56}")
# The worker's own watcher acts first, since it leaves a traceback.
_MARGIN_SECONDS = 10.0
# A study has hundreds of ledgers.
_SECONDS_BETWEEN_READS = 2.0


@dataclass(frozen=True)
class WorkerProcess:
    """A process on a node; its start distinguishes it from a later process of the same pid."""

    node_id: str
    pid: int
    process_start: str


def write_worker_process(storage: Storage, run_folder: Path, trial: str) -> None:
    """Record that this process executes a trial."""
    pid = os.getpid()
    process = WorkerProcess(ray.get_runtime_context().get_node_id(), pid, process_start(pid))
    storage.write_json(_file(run_folder, trial), asdict(process))


def read_worker_process(run_folder: Path, trial: str) -> WorkerProcess | None:
    """The process that last executed a trial, of several workers the first one's; None if it is unknown."""
    found = read_json(_file(run_folder, trial))
    return _parse_process(found, "node_id") if isinstance(found, dict) else None


def _file(run_folder: Path, trial: str) -> Path:
    return run_folder / "progress" / f".{trial}.place.json"


def _parse_process(written: Mapping[str, Any], node_key: str) -> WorkerProcess | None:
    node, pid, start = written.get(node_key), written.get("pid"), written.get("process_start")
    # Not `isinstance`: a boolean is an int too.
    if not isinstance(node, str) or type(pid) is not int or not isinstance(start, str):
        return None
    return WorkerProcess(node, pid, start) if 0 < pid < 2**31 else None


# Ends a process; returns a function: whether the process was still there, None while that is unknown.
End = Callable[[WorkerProcess], Callable[[], bool | None]]


@dataclass
class _LifeSign:
    """A value that changes while a process lives, and when it last changed, by the driver's clock."""

    process: Callable[[], WorkerProcess | None]
    changed_at: float
    value: float | None = None
    ledger: Ledger | None = None
    trial: str = ""
    was_ended: Callable[[], bool | None] | None = None


class StallWatch:
    """Ends processes of a driver's runs that show no sign of life for too long.

    Args:
        ledgers: of the runs.
        stall_seconds: how long a process may show none; None has no limit.
        end: ends a process.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        ledgers: Iterable[Ledger],
        stall_seconds: float | None,
        end: End,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stall_seconds, self._end, self._clock = stall_seconds, end, clock
        self._tails = [(ledger, LedgerTail(ledger)) for ledger in ledgers] if stall_seconds is not None else []
        self._trials: dict[tuple[Path, str], _LifeSign] = {}
        self._holds: dict[str, _LifeSign] = {}
        self._read_at = -_SECONDS_BETWEEN_READS

    def check(self, running: Iterable[tuple[Path, Progress]]) -> None:
        """Check the signs of life, and end frozen processes; ``running`` has run folder and progress of each trial."""
        if self._stall_seconds is None:
            return
        now = self._clock()
        self._follow_progress(running, now)
        if now - self._read_at >= _SECONDS_BETWEEN_READS:
            self._read_at = now
            self._follow_holds(now)
        self._end_silent(self._trials, now - self._stall_seconds - _MARGIN_SECONDS)
        self._end_silent(self._holds, now - self._stall_seconds - _MARGIN_SECONDS)

    def _follow_progress(self, running: Iterable[tuple[Path, Progress]], now: float) -> None:
        shown = {(folder, found.trial): found.updated_at for folder, found in running if found.status == "running"}
        self._trials = {
            key: self._trials.get(key) or _LifeSign(partial(read_worker_process, *key), now) for key in shown
        }
        for key, sign in self._trials.items():
            if sign.value != shown[key]:
                sign.value, sign.changed_at = shown[key], now

    def _follow_holds(self, now: float) -> None:
        for ledger, tail in self._tails:
            held = [sign for sign in self._holds.values() if sign.ledger is ledger]
            if held:
                ledger.fetch_if_due()
            try:
                for entry in tail.new_entries():
                    self._note_entry(ledger, entry, now)
            except OSError:
                # A storage that is away must not count as silence.
                for sign in held:
                    sign.changed_at = now

    def _note_entry(self, ledger: Ledger, entry: Mapping[str, Any], now: float) -> None:
        attempt_id, event = entry["attempt"], entry.get("event")
        if event in ("end", "close"):
            self._holds.pop(attempt_id, None)
        elif attempt_id in self._holds:
            self._holds[attempt_id].changed_at = now
        elif (
            event == "start" and entry.get("kind") == "hold" and (process := _parse_process(entry, "node")) is not None
        ):
            self._holds[attempt_id] = _LifeSign(lambda: process, now, ledger=ledger, trial=str(entry.get("trial", "")))

    def _end_silent(self, signs: dict[Any, _LifeSign], since: float) -> None:
        for key, sign in list(signs.items()):
            if sign.was_ended is None and sign.changed_at < since:
                process = sign.process()
                sign.was_ended = self._end(process) if process is not None else lambda: False
            if sign.was_ended is None or (was_there := sign.was_ended()) is None:
                continue
            # A trial that goes on gets a new sign.
            del signs[key]
            # A hold whose process was already gone ends at its last beat.
            if was_there and sign.ledger is not None:
                logger.warning("the process that had run %s was frozen, and was ended", sign.trial)
                # If this cannot be written, the hold ends at its last beat.
                with suppress(OSError):
                    sign.ledger.close(key, "failed")


def end_on_its_node(process: WorkerProcess) -> Callable[[], bool | None]:
    """Kill a worker process by a Ray task on its node.

    Returns:
        A function that says, without waiting, whether the process was killed; None while that is unknown.
    """
    if not _NODE_ID.fullmatch(process.node_id):
        return lambda: False
    on_node = NodeAffinitySchedulingStrategy(process.node_id, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on_node)(_kill).remote(process)

    def is_killed() -> bool | None:
        if not ray.wait([task], timeout=0)[0]:
            return None
        with suppress(ray.exceptions.RayError):
            return bool(ray.get(task))
        return False  # the node is gone, and the process with it

    return is_killed


def _kill(process: WorkerProcess) -> bool:
    with suppress(OSError):
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        # The pid may belong to another process by now, or to another worker.
        if command.startswith(b"ray::") and process_start(process.pid) == process.process_start:
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False
