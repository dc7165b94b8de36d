"""A table with one entry for each sweep on the cluster, in a named Ray actor that all drivers share.

The actor takes no CPU, and ends with the driver that started it, with its node, or with Ray. Nothing is lost by that:
every sweep renews its entry each second, and the first driver that finds no actor starts one. A detached actor would
outlive its drivers, and serve later ones with the code of an older release.
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
# Sweeps renew their entries each second, so a new table is complete after this time.
_COLLECTING_SECONDS = 3.0
_ANSWER_SECONDS = 4.0
# Limits the starts where no actor stays alive, for instance on nodes that lack this package.
_SECONDS_BETWEEN_STARTS = 5.0


class SweepTable:
    """The entries of live sweeps; an entry that is not renewed for 15 s expires.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_complete_at = clock() + _COLLECTING_SECONDS
        self._entries: dict[str, tuple[Entry, float]] = {}

    def exchange(self, key: str, entry: Entry) -> list[Entry] | None:
        """Replace a sweep's entry; returns those of the other live sweeps, None while some may be missing."""
        now = self._clock()
        self._entries[key] = (entry, now)
        self._entries = {sweep: found for sweep, found in self._entries.items() if now - found[1] < _EXPIRY_SECONDS}
        if now < self._is_complete_at:
            return None
        return [other for sweep, (other, _) in self._entries.items() if sweep != key]

    def remove(self, key: str) -> None:
        """Remove a sweep's entry."""
        self._entries.pop(key, None)


class ClusterTable:
    """The table of the cluster that this process is connected to; started again where it is gone."""

    def __init__(self) -> None:
        self._actor: Any = None
        self._started_at = -_SECONDS_BETWEEN_STARTS

    def exchange(self, key: str, entry: Entry) -> list[Entry] | None:
        """As :meth:`SweepTable.exchange`; also None where the table is gone.

        Raises:
            GetTimeoutError, RayError: if there is no answer in time; the next call may get one.
        """
        if self._actor is None:
            if time.monotonic() - self._started_at < _SECONDS_BETWEEN_STARTS:
                return None
            self._started_at = time.monotonic()
            # `get_if_exists`: of two drivers that start it at once, the second gets the first one's.
            start = ray.remote(num_cpus=0)(SweepTable).options
            self._actor = start(name=_NAME, namespace=_NAMESPACE, get_if_exists=True).remote()
        try:
            found: list[Entry] | None = ray.get(self._actor.exchange.remote(key, entry), timeout=_ANSWER_SECONDS)
        except ray.exceptions.ActorDiedError:
            self._actor = None
            return None
        return found

    def remove(self, key: str) -> None:
        """Remove a sweep's entry, and release the actor: it ends when the driver that started it does this.

        Raises:
            GetTimeoutError, RayError: if there is no answer in time; the entry then expires.
        """
        actor, self._actor = self._actor, None
        if actor is not None:
            ray.get(actor.remove.remote(key), timeout=_ANSWER_SECONDS)
