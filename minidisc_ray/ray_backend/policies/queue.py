"""The queue of trials: each is handed out once the trials that it needs are finished."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.retries import RetryPolicy, RetryState
from minidisc_ray.schedules.early_end import Verdict

_NEVER = RetryPolicy(max_failures=0, first_wait_seconds=0.0)


@dataclass(frozen=True)
class Failure:
    """Why a trial failed, where no retry can fix it.

    Attributes:
        sentence: the reason, in one line.
        is_users: whether the cause is the recipe, its data or its models.
    """

    sentence: str
    is_users: bool = False


# Decides which trials of a run go on after their probes: from the names of its trials and probes that are not over, a
# verdict for each trial with a probe.
Gate = Callable[[Collection[str]], Mapping[str, Verdict]]


@dataclass(frozen=True)
class Item:
    """One trial of one run.

    Attributes:
        run: the checked recipe that the trial belongs to.
        trial: its name.
        title: its name in Tune, its folders and the dashboard.
        with_shared: whether it makes the teacher and the importance first.
        needs: titles of items that must succeed first.
        follows: titles of items that must be over first, whether they succeed or fail.
        gate: decides whether the trial waits, goes on or ends.
    """

    run: PreparedRun
    trial: str
    title: str
    with_shared: bool = False
    needs: frozenset[str] = frozenset()
    follows: frozenset[str] = frozenset()
    gate: Gate | None = None


class ItemQueue:
    """Items that wait, are handed out, or are over.

    Attributes:
        retries: crashes, preemptions and waits of each item.
        waiting: items not handed out, by title.
        handed_out: items that run, or wait for resources, by title.
        handed_out_at: when each was last handed out, in seconds since the epoch; older files are of an earlier attempt.
        succeeded: titles.
        failed: why, by title.
    """

    def __init__(
        self, items: Sequence[Item], policy: RetryPolicy = _NEVER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.retries = RetryState(policy, clock)
        self.waiting = {item.title: item for item in items}
        self.handed_out: dict[str, Item] = {}
        self.handed_out_at: dict[str, float] = {}
        self.succeeded: set[str] = set()
        self.failed: dict[str, Failure] = {}
        self._held_back: set[str] = set()
        # Tune's thread changes the queue while the monitor reads it.
        self._lock = threading.RLock()
        self._update_gates(item.gate for item in items)

    def next_item(self) -> Item | None:
        """Hand out the first item that may start; None if there is none."""
        with self._lock:
            for title, item in self.waiting.items():
                if self._is_ready(item):
                    del self.waiting[title]
                    self.handed_out[title] = item
                    self.handed_out_at[title] = time.time()
                    return item
            return None

    def num_ready(self) -> int:
        """How many items may start."""
        with self._lock:
            return sum(self._is_ready(item) for item in self.waiting.values())

    def _is_ready(self, item: Item) -> bool:
        # An item that is not in the queue was finished by an earlier driver.
        is_free = not any(title in self.waiting or title in self.handed_out for title in (*item.needs, *item.follows))
        return is_free and item.title not in self._held_back and self.retries.is_due(item.title)

    def _update_gates(self, gates: Iterable[Gate | None]) -> None:
        """Hold back trials that wait for probes, and drop those that ended with their own probe."""
        for gate in {id(gate): gate for gate in gates if gate is not None}.values():
            open_items = (*self.waiting.values(), *self.handed_out.values())
            verdicts = gate({item.trial for item in open_items if item.gate is gate})
            for title, item in list(self.waiting.items()):
                if item.gate is not gate:
                    continue
                self._held_back.discard(title)
                match verdicts.get(item.trial):
                    case "waits":
                        self._held_back.add(title)
                    case "ends" | "has no probe":
                        del self.waiting[title]

    def retry(self, title: str, was_preempted: bool = False) -> float | None:
        """Queue an item again whose process died; returns the seconds until it may start.

        Returns None if it has no attempt left: the item is still handed out, and must be closed.
        """
        with self._lock:
            seconds = self.retries.record_end(title, was_preempted)
            if seconds is not None:
                # In front, since other items may need it.
                self.waiting = {title: self.handed_out.pop(title), **self.waiting}
            return seconds

    def close(self, title: str, failure: Failure | None) -> list[Item]:
        """Mark an item as over; returns the items that can now never start, which count as failed too."""
        with self._lock:
            gate = self.handed_out.pop(title).gate
            self.handed_out_at.pop(title, None)
            if failure is None:
                self.succeeded.add(title)
            else:
                self.failed[title] = failure
            self._update_gates([gate])
            blocked: list[Item] = []
            for item in list(self.waiting.values()):
                # Items stand behind those that they need, so one pass finds indirect needs too.
                if needed := sorted(item.needs & self.failed.keys()):
                    del self.waiting[item.title]
                    reason = self.failed[needed[0]]
                    sentence = f"{needed[0]}, which it needs, failed: {reason.sentence}"
                    self.failed[item.title] = Failure(sentence, reason.is_users)
                    blocked.append(item)
            return blocked

    @property
    def is_over(self) -> bool:
        """Whether every item is over."""
        with self._lock:
            return not self.waiting and not self.handed_out

    def held_back(self) -> set[str]:
        """Titles of the items that wait for a gate's verdict."""
        with self._lock:
            return self._held_back & self.waiting.keys()

    def running(self) -> list[Item]:
        """The items that are handed out now."""
        with self._lock:
            return list(self.handed_out.values())

    def open_titles(self) -> set[str]:
        """Titles of the items that are not over."""
        with self._lock:
            return {*self.waiting, *self.handed_out}
