"""Processes that stand still: found by the driver, ended on their own nodes.

A worker ends itself when its training hangs (:mod:`minidisc_ray.ray_backend.supervision.leaving`); a process that is
frozen as a whole cannot. Two signs show that a process lives: the progress of the trial that it runs, and the beats of
what it holds, which come from a thread of its own, between two trials too
(:mod:`minidisc_ray.accounting.heartbeat`). A process is ended when a sign of it does not change for too long.
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

# As Ray has them; a file may say anything. Nothing but f is no actor's.
_NODE_ID = re.compile(r"(?!f{56})[0-9a-f]{56}")
# The worker's own watch comes first: it leaves a traceback.
_MARGIN_SECONDS = 10.0
# A study has hundreds of ledgers.
_SECONDS_BETWEEN_READS = 2.0


@dataclass(frozen=True)
class Place:
    """Where a process runs; its start tells it from a later process of the same number."""

    node_id: str
    pid: int
    process_start: str


def note_place(storage: Storage, run_folder: Path, trial: str) -> None:
    """Write down that this process works on a trial."""
    pid = os.getpid()
    place = Place(ray.get_runtime_context().get_node_id(), pid, process_start(pid))
    storage.write_json(_file(run_folder, trial), asdict(place))


def place_of(run_folder: Path, trial: str) -> Place | None:
    """Where a trial's first worker was last at work; None if that is not known."""
    found = read_json(_file(run_folder, trial))
    return _place(found, "node_id") if isinstance(found, dict) else None


def _file(run_folder: Path, trial: str) -> Path:
    return run_folder / "progress" / f".{trial}.place.json"


def _place(written: Mapping[str, Any], node_key: str) -> Place | None:
    node, pid, start = written.get(node_key), written.get("pid"), written.get("process_start")
    # A truth value is a whole number too.
    if not isinstance(node, str) or type(pid) is not int or not isinstance(start, str):
        return None
    return Place(node, pid, start) if 0 < pid < 2**31 else None


# Ends a process; what it returns tells whether it was there still, or None as long as that is not known.
End = Callable[[Place], Callable[[], bool | None]]


@dataclass
class _Sign:
    """What shows that a process lives: where that is, and since when, by the driver's clock, nothing has changed."""

    place: Callable[[], Place | None]
    changed_at: float
    value: float | None = None
    ledger: Ledger | None = None
    trial: str = ""
    was_ended: Callable[[], bool | None] | None = None


class StallWatch:
    """Which processes of a driver's runs have stood still for too long, since this was made.

    Args:
        ledgers: of the runs.
        stall_seconds: how long a process may stand still; None is for ever.
        end: what ends a process.
        clock: seconds that only grow.
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
        self._trials: dict[tuple[Path, str], _Sign] = {}
        self._holds: dict[str, _Sign] = {}
        self._read_at = -_SECONDS_BETWEEN_READS

    def check(self, running: Iterable[tuple[Path, Progress]]) -> None:
        """See how trials go on, each with its run's folder, and what holds say; end what stands still."""
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
        self._trials = {key: self._trials.get(key) or _Sign(partial(place_of, *key), now) for key in shown}
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
                # What a storage that is away keeps from being read is no silence.
                for sign in held:
                    sign.changed_at = now

    def _note_entry(self, ledger: Ledger, entry: Mapping[str, Any], now: float) -> None:
        attempt_id, event = entry["attempt"], entry.get("event")
        if event in ("end", "close"):
            self._holds.pop(attempt_id, None)
        elif attempt_id in self._holds:
            self._holds[attempt_id].changed_at = now
        elif event == "start" and entry.get("kind") == "hold" and (place := _place(entry, "node")) is not None:
            self._holds[attempt_id] = _Sign(lambda: place, now, ledger=ledger, trial=str(entry.get("trial", "")))

    def _end_silent(self, signs: dict[Any, _Sign], since: float) -> None:
        for key, sign in list(signs.items()):
            if sign.was_ended is None and sign.changed_at < since:
                place = sign.place()
                sign.was_ended = self._end(place) if place is not None else lambda: False
            if sign.was_ended is None or (was_there := sign.was_ended()) is None:
                continue
            # A trial that runs on has as much time again.
            del signs[key]
            # What held devices and was not there any more died at its last beat.
            if was_there and sign.ledger is not None:
                logger.warning("the process that had run %s was frozen, and was ended", sign.trial)
                # Where the storage refuses, the last beat stands for this end too.
                with suppress(OSError):
                    sign.ledger.close(key, "failed")


def end_on_its_node(place: Place) -> Callable[[], bool | None]:
    """Kill a worker from a task on its node; what is gone already needs no killing.

    Returns:
        what tells, without waiting, whether it was killed; None as long as that is not known.
    """
    if not _NODE_ID.fullmatch(place.node_id):
        return lambda: False
    there = NodeAffinitySchedulingStrategy(place.node_id, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_kill).remote(place)

    def is_killed() -> bool | None:
        if not ray.wait([task], timeout=0)[0]:
            return None
        with suppress(ray.exceptions.RayError):
            return bool(ray.get(task))
        return False  # the node is gone, and whatever ran there

    return is_killed


def _kill(place: Place) -> bool:
    with suppress(OSError):
        command = Path(f"/proc/{place.pid}/cmdline").read_bytes()
        # The number may be another process's by now, another worker's too.
        if command.startswith(b"ray::") and process_start(place.pid) == place.process_start:
            os.kill(place.pid, signal.SIGKILL)
            return True
    return False
