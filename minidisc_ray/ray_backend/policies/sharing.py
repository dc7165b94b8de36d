"""Priorities between sweeps on one cluster: a sweep starts no trial while one of higher priority waits for room.

Ray has no priorities between jobs, so each driver posts its sweep's numbers to an actor that all drivers of the cluster
share (:mod:`minidisc_ray.ray_backend.policies.sweep_table`). Running trials are never stopped for another sweep.
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
    """A run or a study on the cluster, as its driver posts it.

    Attributes:
        name: of the run or the study.
        user: that started it.
        priority: the highest goes first.
        waiting: number of trials that would start now if there were room.
        holding: number of trials that have their resources.
    """

    name: str
    user: str
    priority: int
    waiting: int = 0
    holding: int = 0


def sweep_ahead(own: Sweep, others: Iterable[Sweep]) -> Sweep | None:
    """The sweep that this one has to wait for; None if it may start trials.

    This is the sweep of the highest priority above its own with trials that wait. Sweeps of the same priority share
    the cluster in the order of Ray's queue: first come, first served.
    """
    waiting = [other for other in others if other.priority > own.priority and other.waiting > 0]
    return max(waiting, key=lambda other: (other.priority, other.name), default=None)


def waiting_trials(ready: int, asked_for: int, holding: int, at_once: int) -> int:
    """How many trials of a sweep would start now if there were room.

    Args:
        ready: trials not handed out, with all that they need finished.
        asked_for: trials handed out, including those that hold their resources.
        holding: trials that hold their resources.
        at_once: how many the sweep's own caps allow; trials above them do not wait for another sweep.
    """
    return max(0, asked_for - holding) + min(ready, max(0, at_once - asked_for))


class Turn:
    """Posts this sweep's numbers to the others, and decides from theirs whether it may start another trial."""

    def __init__(self, name: str, priority: int, table: ClusterTable | SweepTable) -> None:
        self.own = Sweep(name, user_name(), priority)
        self._key = uuid.uuid4().hex
        self._table = table
        self._ahead: Sweep | None = None
        self._blocked_since: float | None = None
        self._trials: tuple[ItemQueue, int] | None = None

    def set_trials(self, queue: ItemQueue, at_once: int) -> None:
        """Set the trials whose numbers are posted.

        Args:
            queue: the trials.
            at_once: how many of them may be handed out at the same time.
        """
        self._trials = (queue, at_once)

    @property
    def blocked_seconds(self) -> float | None:
        """How long this sweep has waited for another one; None if it may start trials."""
        since = self._blocked_since
        return None if since is None else time.monotonic() - since

    @property
    def ahead_text(self) -> str | None:
        """The sweep that this one waits for, in words; None if it may start trials."""
        ahead = self._ahead
        return None if ahead is None else f"{ahead.name} of {ahead.user}, which has priority {ahead.priority}"

    def wait(self) -> None:
        """Wait until this sweep may start trials."""
        while self.blocked_seconds is not None:
            time.sleep(_SECONDS_BETWEEN_POSTS / 2)

    def exchange(self) -> None:
        """Renew this sweep's entry, and read the others'."""
        if self._trials is not None:
            waiting, holding = count_trials(*self._trials)
            self.own = replace(self.own, waiting=waiting, holding=holding)
        entries = self._table.exchange(self._key, asdict(self.own))
        if entries is None:
            return
        others = []
        for entry in entries:
            # An entry of another release may have other fields, and is skipped.
            with suppress(KeyError, TypeError, ValueError):
                numbers = (int(entry[name]) for name in ("priority", "waiting", "holding"))
                others.append(Sweep(str(entry["name"]), str(entry["user"]), *numbers))
        self._update(sweep_ahead(self.own, others))

    def leave(self) -> None:
        """Remove this sweep's entry."""
        self._table.remove(self._key)

    def _update(self, first: Sweep | None) -> None:
        was_held, self._ahead = self._ahead is not None, first
        if first is None:
            self._blocked_since = None
            if was_held:
                logger.warning("%s starts trials again", self.own.name)
        elif not was_held:
            self._blocked_since = time.monotonic()
            logger.warning(
                "%s starts no further trial for now: %s of %s has priority %d, above its own of %d, and waits for room",
                self.own.name,
                first.name,
                first.user,
                first.priority,
                self.own.priority,
            )


def count_trials(queue: ItemQueue, at_once: int) -> tuple[int, int]:
    """How many trials of a queue wait for room, and how many hold their resources (have written progress)."""
    out = queue.running()
    holding = 0
    for item in out:
        progress = read_trial_progress(item.run.run_folder, item.trial)
        holding += progress is not None and progress.updated_at >= queue.handed_out_at.get(item.title, 0.0)
    return waiting_trials(queue.num_ready(), len(out), holding, at_once), holding


@contextmanager
def sharing_cluster(name: str, priority: int) -> Iterator[Turn]:
    """Share the cluster with other sweeps within the context; yields this sweep's turn, renewed by a thread.

    Args:
        name: of the run or the study.
        priority: the highest goes first.
    """
    turn = Turn(name, priority, ClusterTable())
    is_over = threading.Event()

    def exchange() -> None:
        while True:
            # The cluster may be slow or away; until the next try nothing changes.
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
