"""An append-only record of every attempt, the failed ones too: one JSON object a line.

An attempt writes when it starts, now and then while it runs, and when it ends. One that was killed has no end: its last
beat stands for it. Seconds are seconds *held*.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minidisc_ray.files.writing import append_line

Kind = Literal["stage", "hold"]


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
    """

    kind: Kind
    name: str
    trial: str
    seconds: float
    devices: float
    device_type: str
    status: str
    started_at: float

    @property
    def device_hours(self) -> float:
        """Seconds held times devices, in hours."""
        return self.seconds * self.devices / 3600


class Ledger:
    """Appends to, and reads, one ledger file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line; concurrent writers do not mix, since one short write in append mode is atomic."""
        append_line(self.path, json.dumps(entry, sort_keys=True))

    def start(
        self, kind: Kind, name: str, trial: str, devices: float, device_type: str, started_at: float | None = None
    ) -> str:
        """Open an attempt, now or since a time (seconds since the epoch); returns its id."""
        attempt_id = uuid.uuid4().hex[:12]
        self.append(
            {
                "attempt": attempt_id,
                "event": "start",
                "kind": kind,
                "name": name,
                "trial": trial,
                "devices": devices,
                "device_type": device_type,
                "time": time.time() if started_at is None else started_at,
            }
        )
        return attempt_id

    def beat(self, attempt_id: str) -> None:
        """Say that an attempt still holds its devices."""
        self.append({"attempt": attempt_id, "event": "beat", "time": time.time()})

    def end(self, attempt_id: str, status: str) -> None:
        """Close an attempt."""
        self.append({"attempt": attempt_id, "event": "end", "status": status, "time": time.time()})

    @contextmanager
    def attempt(self, kind: Kind, name: str, trial: str, devices: float, device_type: str) -> Iterator[str]:
        """An attempt that ends with the context, whatever ends it."""
        attempt_id = self.start(kind, name, trial, devices, device_type)
        try:
            yield attempt_id
        except Exception:
            self.end(attempt_id, "failed")
            raise
        except BaseException:  # Ctrl-C, or a worker told to exit
            self.end(attempt_id, "interrupted")
            raise
        self.end(attempt_id, "finished")

    def attempts(self) -> list[Attempt]:
        """Every attempt, in the order of starting; a torn or foreign line is passed over."""
        starts: dict[str, dict[str, Any]] = {}
        last: dict[str, float] = {}
        status: dict[str, str] = {}
        for entry in self._entries():
            attempt_id = entry["attempt"]
            if entry["event"] == "start":
                starts[attempt_id] = entry
            last[attempt_id] = max(float(entry["time"]), last.get(attempt_id, 0.0))
            if entry["event"] == "end":
                status[attempt_id] = str(entry["status"])
        return [
            Attempt(
                kind=start["kind"],
                name=start["name"],
                trial=start["trial"],
                seconds=max(0.0, last[attempt_id] - float(start["time"])),
                devices=float(start["devices"]),
                device_type=start["device_type"],
                status=status.get(attempt_id, "open"),
                started_at=float(start["time"]),
            )
            for attempt_id, start in starts.items()
        ]

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and {"attempt", "event", "time"} <= entry.keys():
                yield entry
