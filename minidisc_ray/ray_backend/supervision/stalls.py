"""Workers whose progress stands still: found by the driver, ended on their own node.

A worker ends itself when it hangs (:mod:`minidisc_ray.ray_backend.supervision.leaving`); a process that is frozen as a
whole cannot.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from minidisc_ray.driver.driver import process_start
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json
from minidisc_ray.run_files.progress import Progress

# As Ray has them; a file may say anything. Nothing but f is no actor's.
_NODE_ID = re.compile(r"(?!f{56})[0-9a-f]{56}")
# The worker's own watch comes first: it leaves a traceback.
MARGIN_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """Where a trial's first worker runs; its start tells it from a later process of the same number."""

    node_id: str
    pid: int
    process_start: str = ""


def note_place(storage: Storage, run_folder: Path, trial: str) -> None:
    """Write down that this process works on a trial."""
    pid = os.getpid()
    place = Place(ray.get_runtime_context().get_node_id(), pid, process_start(pid))
    storage.write_json(_file(run_folder, trial), asdict(place))


def place_of(run_folder: Path, trial: str) -> Place | None:
    """Where a trial was last at work; None if that is not known."""
    found = read_json(_file(run_folder, trial))
    if not isinstance(found, dict):
        return None
    try:
        place = Place(str(found["node_id"]), int(found["pid"]), str(found.get("process_start", "")))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return place if 0 < place.pid < 2**31 else None


def _file(run_folder: Path, trial: str) -> Path:
    return run_folder / "progress" / f".{trial}.place.json"


# Ends a worker; what it returns tells whether it was at work there still, or None as long as that is not known.
End = Callable[[Place], Callable[[], bool | None]]


@dataclass
class StallWatch:
    """Which of the running trials have stood still for too long, by this process's own clock.

    Attributes:
        stall_seconds: how long a trial may stand still; None is for ever.
        end: what ends a worker.
        clock: seconds that only grow.
    """

    stall_seconds: float | None
    end: End
    clock: Callable[[], float] = time.monotonic
    _moved: dict[tuple[Path, str], tuple[float, float]] = field(default_factory=dict)

    def check(self, running: Iterable[tuple[Path, Progress]]) -> None:
        """See where trials stand, each with its run's folder, and end those that stand still."""
        if self.stall_seconds is None:
            return
        now, known = self.clock(), self._moved
        self._moved = {}
        for folder, progress in running:
            if progress.status != "running":
                continue
            key = (folder, progress.trial)
            updated_at, moved_at = known.get(key, (progress.updated_at, now))
            if updated_at != progress.updated_at:
                updated_at, moved_at = progress.updated_at, now
            elif now - moved_at > self.stall_seconds + MARGIN_SECONDS:
                moved_at = now
                if (place := place_of(folder, progress.trial)) is not None:
                    self.end(place)
            self._moved[key] = (updated_at, moved_at)


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
        try:
            return bool(ray.get(task))
        except ray.exceptions.RayError:
            return False  # the node is gone, and whatever ran there

    return is_killed


def _kill(place: Place) -> bool:
    try:
        command = Path(f"/proc/{place.pid}/cmdline").read_bytes()
        # The number may be another process's by now, another worker's too.
        if command.startswith(b"ray::") and process_start(place.pid) == place.process_start:
            os.kill(place.pid, signal.SIGKILL)
            return True
    except OSError:
        pass
    return False
