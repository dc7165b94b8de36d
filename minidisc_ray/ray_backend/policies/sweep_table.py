"""What the sweeps of a cluster last said of themselves: one actor of Ray's, found by its name, for all drivers.

The actor takes no CPU, and ends with the driver that started it, with its node, or with Ray. No claim is lost by that:
every sweep renews its entry each second, and the first one that finds no actor starts one. A detached actor would
outlive its drivers, and serve the next ones with the code of a release that is gone.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
import ray.exceptions

Entry = Mapping[str, Any]

_NAMESPACE = "minidisc"
_NAME = "sweeps"
_EXPIRY_SECONDS = 15.0
# A new actor knows no sweep until it speaks, which each does within a second or two.
_FILLING_SECONDS = 3.0
_ANSWER_SECONDS = 4.0
# Where no actor stays alive, for instance on nodes that lack this package, few are tried.
_SECONDS_BETWEEN_STARTS = 5.0


class SweepTable:
    """The entries of living sweeps: those that are renewed, by this process's own clock.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._filled_at = clock() + _FILLING_SECONDS
        self._entries: dict[str, tuple[Entry, float]] = {}

    def exchange(self, key: str, entry: Entry) -> list[Entry] | None:
        """Replace a sweep's entry; returns those of the other living ones, None while some may be missing."""
        now = self._clock()
        self._entries[key] = (entry, now)
        self._entries = {other: (said, at) for other, (said, at) in self._entries.items() if now - at < _EXPIRY_SECONDS}
        if now < self._filled_at:
            return None
        return [said for other, (said, _) in self._entries.items() if other != key]

    def remove(self, key: str) -> None:
        """Forget a sweep."""
        self._entries.pop(key, None)


class ClusterTable:
    """The table of the cluster that this process is connected to; where it is not there it is started again."""

    def __init__(self) -> None:
        self._actor: Any = None
        self._started_at = -_SECONDS_BETWEEN_STARTS

    def exchange(self, key: str, entry: Entry) -> list[Entry] | None:
        """As :meth:`SweepTable.exchange`; None too where the table is gone.

        Raises:
            GetTimeoutError, RayError: if there is no answer in time; the next call may have one.
        """
        if self._actor is None:
            if time.monotonic() - self._started_at < _SECONDS_BETWEEN_STARTS:
                return None
            self._started_at = time.monotonic()
            # Of two drivers that start it at once one does, and the other gets the same.
            start = ray.remote(num_cpus=0)(SweepTable).options
            self._actor = start(name=_NAME, namespace=_NAMESPACE, get_if_exists=True).remote()
        try:
            found: list[Entry] | None = ray.get(self._actor.exchange.remote(key, entry), timeout=_ANSWER_SECONDS)
        except ray.exceptions.ActorDiedError:
            self._actor = None
            return None
        return found

    def remove(self, key: str) -> None:
        """Forget a sweep, and the table: it ends with the last handle of the driver that started it.

        Raises:
            GetTimeoutError, RayError: if there is no answer in time; the entry then expires.
        """
        actor, self._actor = self._actor, None
        if actor is not None:
            ray.get(actor.remove.remote(key), timeout=_ANSWER_SECONDS)
