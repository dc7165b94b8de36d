"""Attempts at stages, and times that resources were held, read from the lines of a ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minidisc_ray.accounting.lines import finite_number

Kind = Literal["stage", "hold"]
Entry = Mapping[str, Any]
_START_KEYS = {"kind", "name", "trial", "devices", "device_type"}


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage, or one time that resources were held (a hold).

    Attributes:
        kind: ``stage`` for work, ``hold`` for resources from granted to released.
        name: of the stage, or of what holds the resources.
        trial: that it belongs to.
        seconds: held, up to the end or the last beat.
        devices: how many, in units of ``device_type``.
        device_type: ``cpu-core``, or the kind of GPU.
        status: ``finished``, ``failed``, ``interrupted``, or ``open`` where no end was written.
        started_at: seconds since the epoch.
        number: among the trial's attempts of that name, from 1.
        node: where its first worker ran; empty in older ledgers.
        device_model: the product name of the device; empty where unknown.
        safe_seconds: from the start to the last checkpoint; 0 without one.
        safe_step: the step of that checkpoint.
        energy_joules: of all its workers' devices; None where it was not measured.
        attempt_id: of its lines in the ledger.
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
    """Build the attempts from a ledger's lines, in the order of their starts; a line may come before its start."""
    starts: dict[str, Entry] = {}
    lines: dict[str, list[Entry]] = {}
    for entry in entries:
        attempt_id = entry["attempt"]
        if entry.get("event") != "start":
            lines.setdefault(attempt_id, []).append(entry)
        elif attempt_id not in starts and entry.keys() >= _START_KEYS and entry["kind"] in ("stage", "hold"):
            starts[attempt_id] = entry
    found: list[Attempt] = []
    counts: dict[tuple[str, str, str], int] = {}
    for attempt_id, start in starts.items():
        key = (start["kind"], start["name"], start["trial"])
        counts[key] = counts.get(key, 0) + 1
        found.append(_attempt(start, lines.get(attempt_id, []), counts[key]))
    return found


def _attempt(start: Entry, lines: Sequence[Entry], ordinal: int) -> Attempt:
    # What was held before the start line could be written; older ledgers lack it.
    seconds = max(0.0, finite_number(start.get("seconds")) or 0.0)
    status, closed_seconds = "open", 0.0
    safe: tuple[float, int | None] = (0.0, None)
    joules: dict[int, float] = {}
    for line in lines:
        event = line.get("event")
        if event == "close":
            # Two processes may close the same dead attempt: the first line counts.
            if status == "open":
                status, closed_seconds = str(line.get("status", "interrupted")), _seconds(start, line)
            continue
        seconds = max(seconds, _seconds(start, line))
        if event == "checkpoint":
            safe = _seconds(start, line), _integer(line.get("step"))
        elif event == "energy":
            worker, used = _integer(line.get("worker")) or 0, finite_number(line.get("joules"))
            joules[worker] = max(joules.get(worker, 0.0), used or 0.0)
        elif event == "end":
            # The attempt's own end overrides a close by another process; later beats do not count.
            status, closed_seconds = str(line.get("status", "interrupted")), 0.0
            break
    seconds = max(seconds, closed_seconds)
    return Attempt(
        kind=start["kind"],
        name=str(start["name"]),
        trial=str(start["trial"]),
        seconds=seconds,
        devices=max(0.0, finite_number(start["devices"]) or 0.0),
        device_type=str(start["device_type"]),
        status=status,
        started_at=float(start["time"]),
        number=_integer(start.get("number")) or ordinal,
        node=str(start.get("node", "")),
        device_model=str(start.get("device_model", "")),
        safe_seconds=min(seconds, safe[0]),
        safe_step=safe[1],
        energy_joules=sum(joules.values()) if joules else None,
        attempt_id=str(start["attempt"]),
    )


def _seconds(start: Entry, line: Entry) -> float:
    """Seconds from the start to a line: as the attempt's own process measured them, else by wall clocks."""
    measured = finite_number(line.get("seconds"))
    return max(0.0, float(line["time"]) - float(start["time"]) if measured is None else measured)


def _integer(value: Any) -> int | None:
    number = finite_number(value)
    return None if number is None else int(number)
