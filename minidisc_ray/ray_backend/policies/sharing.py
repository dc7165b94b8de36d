"""Several people's sweeps on one cluster: of two priorities the lower one starts nothing while the higher one waits.

Ray has no priorities between jobs, so sweeps tell each other how they stand, through an actor that all drivers of the
cluster find whatever their storage (:mod:`minidisc_ray.ray_backend.policies.sweep_table`). Nothing is taken from
anybody: trials that run are left alone.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from minidisc_ray.driver.driver import user_name
from minidisc_ray.log import logger
from minidisc_ray.ray_backend.policies.queue import ItemQueue
from minidisc_ray.ray_backend.policies.sweep_table import ClusterTable, SweepTable
from minidisc_ray.run_files.progress import read_trial_progress

_SECONDS_BETWEEN_POSTS = 1.0


@dataclass(frozen=True)
class Sweep:
    """How a run or a study stands on the cluster.

    Attributes:
        name: of the run or the study.
        user: whose it is.
        priority: the higher goes first.
        waiting: trials that would start now if there were room for them.
        holding: trials that have their resources.
    """

    name: str
    user: str
    priority: int
    waiting: int = 0
    holding: int = 0


def before(own: Sweep, others: Iterable[Sweep]) -> Sweep | None:
    """Whose turn it is before this sweep may start another trial; None if it is its own.

    The one of the highest priority above its own that has trials waiting; sweeps of the same priority share as Ray's
    queue has it, first come, first served.
    """
    waiting = [other for other in others if other.priority > own.priority and other.waiting > 0]
    return max(waiting, key=lambda other: (other.priority, other.name), default=None)


def waiting_trials(ready: int, asked_for: int, holding: int, at_once: int) -> int:
    """Trials that would start now if there were room.

    Args:
        ready: that have not been handed out, and need nothing that is not finished.
        asked_for: that have been handed out, those that hold their resources included.
        holding: that hold their resources.
        at_once: the most that this sweep may have out, by its own caps: what those hold back waits for no other sweep.
    """
    return max(0, asked_for - holding) + min(ready, max(0, at_once - asked_for))


class Turn:
    """This sweep among the others: tells them how it stands, and knows whether it may start another trial."""

    def __init__(self, name: str, priority: int, table: ClusterTable | SweepTable) -> None:
        self.own = Sweep(name, user_name(), priority)
        self._key = uuid.uuid4().hex
        self._table = table
        self._before: Sweep | None = None
        self._held_since: float | None = None
        self._trials: tuple[ItemQueue, int] | None = None

    def is_about(self, queue: ItemQueue, at_once: int) -> None:
        """Tell the others of these trials from now on.

        Args:
            queue: the trials.
            at_once: the most of them that may be out.
        """
        self._trials = (queue, at_once)

    @property
    def held_seconds(self) -> float | None:
        """How long this sweep has had to wait for another one by now; None if it may start trials."""
        since = self._held_since
        return None if since is None else time.monotonic() - since

    def wait(self) -> None:
        """Wait until this sweep may start trials."""
        while self.held_seconds is not None:
            time.sleep(_SECONDS_BETWEEN_POSTS / 2)

    def exchange(self) -> None:
        """Renew this sweep's entry, and read the others'."""
        if self._trials is not None:
            waiting, holding = standing(*self._trials)
            self.own = replace(self.own, waiting=waiting, holding=holding)
        entries = self._table.exchange(self._key, asdict(self.own))
        if entries is None:
            return
        others = []
        for entry in entries:
            # What another release wrote holds no sweep back.
            with suppress(KeyError, TypeError, ValueError):
                numbers = (int(entry[name]) for name in ("priority", "waiting", "holding"))
                others.append(Sweep(str(entry["name"]), str(entry["user"]), *numbers))
        self._give_way(before(self.own, others))

    def leave(self) -> None:
        """Remove this sweep's entry."""
        self._table.remove(self._key)

    def _give_way(self, first: Sweep | None) -> None:
        was_held, self._before = self._before is not None, first
        if first is None:
            self._held_since = None
            if was_held:
                logger.warning("%s starts trials again", self.own.name)
        elif not was_held:
            self._held_since = time.monotonic()
            logger.warning(
                "%s starts no further trial for now: %s of %s has priority %d, above its own of %d, and waits for room",
                self.own.name,
                first.name,
                first.user,
                first.priority,
                self.own.priority,
            )


def standing(queue: ItemQueue, at_once: int) -> tuple[int, int]:
    """How many trials of a queue wait for room, and how many hold their resources: of live ones."""
    out = queue.running()
    holding = 0
    for item in out:
        progress = read_trial_progress(item.run.run_folder, item.trial)
        holding += progress is not None and progress.updated_at >= queue.out_since.get(item.title, 0.0)
    return waiting_trials(queue.num_ready(), len(out), holding, at_once), holding


@contextmanager
def sharing_cluster(name: str, priority: int) -> Iterator[Turn]:
    """Be one of the cluster's sweeps for the length of the context.

    Args:
        name: of the run or the study.
        priority: the higher goes first.
    """
    turn = Turn(name, priority, ClusterTable())
    is_over = threading.Event()

    def exchange() -> None:
        while True:
            # The cluster may be slow or away for a moment; then no turn changes.
            with suppress(Exception):
                turn.exchange()
            if is_over.wait(_SECONDS_BETWEEN_POSTS):
                return

    thread = threading.Thread(target=exchange, name="minidisc-turn", daemon=True)
    thread.start()
    try:
        yield turn
    finally:
        is_over.set()
        thread.join(timeout=5.0)
        with suppress(Exception):
            turn.leave()
