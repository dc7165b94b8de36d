"""Which trials may start, are out, are over: each is handed out once what it needs is finished."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.retries import RetryPolicy, Waits
from minidisc_ray.schedules.early_end import Verdict

_NEVER = RetryPolicy(max_failures=0, first_wait_seconds=0.0)


@dataclass(frozen=True)
class Failure:
    """Why a trial failed, where no retry can mend it.

    Attributes:
        sentence: in one line.
        is_users: whether the recipe, its data or its models are to blame.
    """

    sentence: str
    is_users: bool = False


class Gate(Protocol):
    """What decides which trials of a run go on after their probes."""

    def verdicts(self, to_come: Collection[str]) -> Mapping[str, Verdict]:
        """By trial that has a probe, from what is over by now and the names of trials that will still run."""


@dataclass(frozen=True)
class Item:
    """One trial of one run.

    Attributes:
        run: the checked recipe that the trial belongs to.
        trial: its name.
        title: what Tune, its folders and the dashboard call it.
        with_shared: whether it makes the teacher and the importance first.
        needs: titles of items that must have succeeded before it.
        follows: titles of items that must be over before it, whatever came of them.
        gate: where it says that the trial waits or has ended, that is what it does.
    """

    run: PreparedRun
    trial: str
    title: str
    with_shared: bool = False
    needs: frozenset[str] = frozenset()
    follows: frozenset[str] = frozenset()
    gate: Gate | None = None


class ItemQueue:
    """Which items are waiting, out and over; a decision apart from the cluster, so that it is tested without one."""

    def __init__(
        self, items: Sequence[Item], policy: RetryPolicy = _NEVER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.waits = Waits(policy, clock)
        self.waiting = {item.title: item for item in items}
        self.out: dict[str, Item] = {}
        # When each was last handed out, in seconds since the epoch: what was written before is an earlier attempt's.
        self.out_since: dict[str, float] = {}
        self.succeeded: set[str] = set()
        self.failed: dict[str, Failure] = {}
        self._held_back: set[str] = set()
        # Tune's thread moves items while another one looks at them.
        self._lock = threading.RLock()
        self._ask_gates(item.gate for item in items)

    def next_item(self) -> Item | None:
        """The first item in order that may start, now out; None if there is none."""
        with self._lock:
            for title, item in self.waiting.items():
                if self._is_ready(item):
                    del self.waiting[title]
                    self.out[title] = item
                    self.out_since[title] = time.time()
                    return item
            return None

    def num_ready(self) -> int:
        """How many items may start."""
        with self._lock:
            return sum(self._is_ready(item) for item in self.waiting.values())

    def _is_ready(self, item: Item) -> bool:
        # What is not in the queue was finished before it.
        is_free = not any(title in self.waiting or title in self.out for title in (*item.needs, *item.follows))
        return is_free and item.title not in self._held_back and self.waits.is_due(item.title)

    def _ask_gates(self, gates: Iterable[Gate | None]) -> None:
        """Hold back what waits for probes, and drop what ended with its own."""
        for gate in {id(gate): gate for gate in gates if gate is not None}.values():
            open_items = (*self.waiting.values(), *self.out.values())
            verdicts = gate.verdicts({item.trial for item in open_items if item.gate is gate})
            for title, item in list(self.waiting.items()):
                if item.gate is not gate:
                    continue
                self._held_back.discard(title)
                match verdicts.get(item.trial):
                    case "waits":
                        self._held_back.add(title)
                    case "ends" | "has no probe":
                        del self.waiting[title]

    def try_again(self, title: str, was_preempted: bool = False) -> float | None:
        """An attempt at an item ended without its fault; seconds until the next one, None if that was the last.

        Where there is none, the item is still out, and must be closed.
        """
        with self._lock:
            seconds = self.waits.wait_after(title, was_preempted)
            if seconds is not None:
                # In front: what others need is not put behind them.
                self.waiting = {title: self.out.pop(title), **self.waiting}
            return seconds

    def close(self, title: str, failure: Failure | None) -> list[Item]:
        """An item is over; returns those that can now never start, which count as failed too."""
        with self._lock:
            gate = self.out.pop(title).gate
            self.out_since.pop(title, None)
            if failure is None:
                self.succeeded.add(title)
                self._ask_gates([gate])
                return []
            self.failed[title] = failure
            self._ask_gates([gate])
            lost: list[Item] = []
            for item in list(self.waiting.values()):
                # In the order of the queue nothing needs what comes after it, so one pass finds heirs of heirs too.
                if needed := sorted(item.needs & self.failed.keys()):
                    del self.waiting[item.title]
                    reason = self.failed[needed[0]]
                    sentence = f"{needed[0]}, which it needs, failed: {reason.sentence}"
                    self.failed[item.title] = Failure(sentence, reason.is_users)
                    lost.append(item)
            return lost

    @property
    def is_over(self) -> bool:
        """Whether nothing waits and nothing is out that might have to wait again."""
        with self._lock:
            return not self.waiting and not self.out

    def running(self) -> list[Item]:
        """The items that are out now."""
        with self._lock:
            return list(self.out.values())

    def open_titles(self) -> set[str]:
        """Titles of the items that are not over."""
        with self._lock:
            return {*self.waiting, *self.out}
