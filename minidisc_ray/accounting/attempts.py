"""From the lines of a ledger to its attempts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minidisc_ray.accounting.lines import number_of

Kind = Literal["stage", "hold"]
Entry = Mapping[str, Any]
_NEEDED = {"kind", "name", "trial", "devices", "device_type"}


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage, or one time that resources were held.

    Attributes:
        kind: ``stage`` for work, ``hold`` for a placement group from granted to released.
        name: the stage's, or the holder's.
        trial: which trial it belongs to.
        seconds: held, up to the end or the last beat.
        devices: how many, in units of ``device_type``.
        status: ``finished``, ``failed``, ``interrupted``, or ``open`` where no end was written.
        number: the ordinal among the trial's attempts of that name, from 1.
        node: where its first worker ran; empty in ledgers of before it was written.
        device_model: what exactly a device is; empty where that is not known.
        safe_seconds: from the start to the last checkpoint; 0 without one.
        safe_step: the step of that checkpoint.
        energy_joules: of all its workers' devices; None where it was not measured.
    """

    kind: Kind
    name: str
    trial: str
    seconds: float
    devices: float
    device_type: str
    status: str
    started_at: float
    number: int = 1
    node: str = ""
    device_model: str = ""
    safe_seconds: float = 0.0
    safe_step: int | None = None
    energy_joules: float | None = None
    attempt_id: str = ""

    @property
    def device_hours(self) -> float:
        """Seconds held times devices, in hours."""
        return self.seconds * self.devices / 3600


def attempts_of(entries: Iterable[Entry]) -> list[Attempt]:
    """The attempts that lines tell of, in the order of starting; lines may stand before their attempt's start."""
    starts: dict[str, Entry] = {}
    lines: dict[str, list[Entry]] = {}
    for entry in entries:
        attempt_id = entry["attempt"]
        if entry.get("event") != "start":
            lines.setdefault(attempt_id, []).append(entry)
        elif attempt_id not in starts and entry.keys() >= _NEEDED and entry["kind"] in ("stage", "hold"):
            starts[attempt_id] = entry
    found: list[Attempt] = []
    counts: dict[tuple[str, str, str], int] = {}
    for attempt_id, start in starts.items():
        place = (start["kind"], start["name"], start["trial"])
        counts[place] = counts.get(place, 0) + 1
        found.append(_attempt(start, lines.get(attempt_id, []), counts[place]))
    return found


def _attempt(start: Entry, lines: Sequence[Entry], ordinal: int) -> Attempt:
    # Until its start was written down; older ledgers do not say.
    seconds = max(0.0, number_of(start.get("seconds")) or 0.0)
    status, closed_seconds = "open", 0.0
    safe: tuple[float, int | None] = (0.0, None)
    joules: dict[int, float] = {}
    for line in lines:
        event = line.get("event")
        if event == "close":
            # Two who saw it die tell of one death: the first of them counts.
            if status == "open":
                status, closed_seconds = str(line.get("status", "interrupted")), _seconds(start, line)
            continue
        seconds = max(seconds, _seconds(start, line))
        if event == "checkpoint":
            safe = _seconds(start, line), _whole(line.get("step"))
        elif event == "energy":
            worker, used = _whole(line.get("worker")) or 0, number_of(line.get("joules"))
            joules[worker] = max(joules.get(worker, 0.0), used or 0.0)
        elif event == "end":
            # Its own word on when and how it ended; a beat that was on its way comes too late.
            status, closed_seconds = str(line.get("status", "interrupted")), 0.0
            break
    seconds = max(seconds, closed_seconds)
    return Attempt(
        kind=start["kind"],
        name=str(start["name"]),
        trial=str(start["trial"]),
        seconds=seconds,
        devices=max(0.0, number_of(start["devices"]) or 0.0),
        device_type=str(start["device_type"]),
        status=status,
        started_at=float(start["time"]),
        number=_whole(start.get("number")) or ordinal,
        node=str(start.get("node", "")),
        device_model=str(start.get("device_model", "")),
        safe_seconds=min(seconds, safe[0]),
        safe_step=safe[1],
        energy_joules=sum(joules.values()) if joules else None,
        attempt_id=str(start["attempt"]),
    )


def _seconds(start: Entry, line: Entry) -> float:
    """From the start to a line: as its own process measured it, else by the writers' clocks."""
    measured = number_of(line.get("seconds"))
    return max(0.0, float(line["time"]) - float(start["time"]) if measured is None else measured)


def _whole(value: Any) -> int | None:
    number = number_of(value)
    return None if number is None else int(number)
