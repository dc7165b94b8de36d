"""Processes that hold devices and say nothing any more: found by the driver, ended on their own nodes.

What a process holds beats from a thread of its own, between two trials too
(:mod:`minidisc_ray.accounting.heartbeat`), so silence means that the process is frozen as a whole, or dead. A trial
that stands still in a process that lives is another matter (:mod:`minidisc_ray.ray_backend.supervision.stalls`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.tail import LedgerTail
from minidisc_ray.log import logger
from minidisc_ray.ray_backend.supervision.stalls import MARGIN_SECONDS, End, Place

# A study has hundreds of ledgers.
SECONDS_BETWEEN_LOOKS = 2.0


@dataclass
class _Held:
    """An open hold: whose, how many beats it gave, and when the last, by this process's own clock."""

    ledger: Ledger
    trial: str
    place: Place
    heard_at: float
    ended: Callable[[], bool | None] | None = None


class HoldWatch:
    """Which holds that began since this was made have been silent for too long.

    Args:
        ledgers: of the runs that are followed.
        stall_seconds: how long a hold may be silent; None is for ever.
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
        self._held: dict[str, _Held] = {}
        self._over: set[str] = set()
        self._looked_at = -SECONDS_BETWEEN_LOOKS

    def check(self) -> None:
        """Read what ledgers say since the last look, now and then, and end what has been silent for too long."""
        if self._stall_seconds is None or self._clock() - self._looked_at < SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = self._clock()
        for held in self._held.values():
            held.ledger.fetch_if_due()
        for ledger, tail in self._tails:
            # What a storage that is away keeps from being read is no silence.
            try:
                for entry in tail.new_entries():
                    self._hear(ledger, entry)
            except OSError:
                for held in self._held.values():
                    if held.ledger is ledger:
                        held.heard_at = self._clock()
        for attempt_id, held in list(self._held.items()):
            self._see_to(attempt_id, held, self._stall_seconds)

    def _hear(self, ledger: Ledger, entry: Mapping[str, Any]) -> None:
        attempt_id, event = entry["attempt"], entry.get("event")
        if event in ("end", "close"):
            self._held.pop(attempt_id, None)
            # Whatever the ledger may say again.
            self._over.add(attempt_id)
        elif attempt_id in self._held:
            self._held[attempt_id].heard_at = self._clock()
        elif event == "start" and attempt_id not in self._over and (place := _place_in(entry)) is not None:
            self._held[attempt_id] = _Held(ledger, str(entry.get("trial", "")), place, self._clock())

    def _see_to(self, attempt_id: str, held: _Held, stall_seconds: float) -> None:
        if held.ended is None:
            if self._clock() - held.heard_at > stall_seconds + MARGIN_SECONDS:
                held.ended = self._end(held.place)
            return
        if (is_ended := held.ended()) is None:
            return
        # What was not there any more is dead, and its last beat tells when it died.
        del self._held[attempt_id]
        self._over.add(attempt_id)
        if is_ended:
            logger.warning("the process that had run %s was frozen, and was ended", held.trial)
            # Where the storage refuses, the last beat stands for this end too.
            with suppress(OSError):
                held.ledger.close(attempt_id, "failed")


def _place_in(entry: Mapping[str, Any]) -> Place | None:
    """Where the process of a hold is; None for other attempts, and in ledgers of before it was written."""
    node, pid, start = entry.get("node"), entry.get("pid"), entry.get("process_start")
    if entry.get("kind") != "hold" or not isinstance(node, str) or not isinstance(start, str):
        return None
    # A truth value is a whole number too.
    return Place(node, pid, start) if type(pid) is int and 0 < pid < 2**31 else None
