"""An append-only record of every attempt, the failed ones too: one JSON object a line.

An attempt writes when it starts, now and then while it runs, what it has safe, and when it ends. One that was killed
has no end of its own: the process that saw it die closes it, else its last beat does. Seconds are seconds *held*,
by the clock that never goes back where the process that opened the attempt wrote the line.
"""

import json
import os
import platform
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minidisc_ray.accounting.attempts import Attempt, Kind, attempts_of
from minidisc_ray.accounting.heartbeat import call_periodically, stop_calls
from minidisc_ray.accounting.lines import sound_lines
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import append_line

__all__ = ["Attempt", "Kind", "Ledger"]

# What this process opened, by the monotonic time at which it began: wall clocks are set back now and then.
_began: dict[str, float] = {}
# Of two nodes' processes of one number.
_OWN = secrets.token_hex(3)


class Ledger:
    """Appends to, and reads, one ledger file; several processes may write to one.

    A bucket has no appending: there each process has a segment of its own, ``ledger/HOST-PID-RANDOM.jsonl`` beside the
    file's name, and the ledger is all of them.

    Args:
        storage: that the run is kept in.
        path: of the file.
    """

    def __init__(self, storage: Storage, path: Path) -> None:
        self.path = path
        self.segments = path.with_suffix("")
        self._storage = storage

    @property
    def own_path(self) -> Path:
        """The file that this process appends to."""
        if not self._storage.is_bucket:
            return self.path
        host = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())
        return self.segments / f"{host}-{os.getpid()}-{_OWN}.jsonl"

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line; concurrent writers do not mix, since one short write in append mode is atomic.

        Only a start makes the file: nothing else may bring a run back that was removed.

        Raises:
            OSError: if the storage refuses, or takes half a line.
        """
        self._write(str(entry.get("event")), lambda: entry)

    def _write(self, event: str, entry_now: Callable[[], dict[str, Any]]) -> None:
        # A beat comes again; a process that waited for the storage with it would beat no more.
        makes_file = event == "start" or (self._storage.is_bucket and self.segments.is_dir())

        def line() -> str:
            return json.dumps(entry_now(), sort_keys=True)

        if event in ("start", "end", "close"):
            self._storage.append_line(self.own_path, line, makes_file)
        else:
            append_line(self.own_path, line(), makes_file, is_synced=False)
            self._storage.upload_later(self.own_path)

    def start(
        self,
        kind: Kind,
        name: str,
        trial: str,
        devices: float,
        device_type: str,
        started_at: float | None = None,
        *,
        node: str | None = None,
        device_model: str | None = None,
        process: tuple[int, str] | None = None,
    ) -> str:
        """Open an attempt, now or since a time (seconds since the epoch); returns its id.

        Args:
            kind: ``stage`` or ``hold``.
            name: the stage's, or the holder's.
            trial: which trial it belongs to.
            devices: how many are held.
            device_type: their unit, ``cpu-core`` or a GPU's name.
            started_at: since when, seconds since the epoch.
            node: where; by default this machine's name.
            device_model: what exactly a device is, for instance the processor's name.
            process: number and start of the process that holds them on its node, for a process that may have to end it.
        """
        # Before anything that may have to wait for the storage.
        now = time.time()
        began = time.monotonic() - (0.0 if started_at is None else max(0.0, now - started_at))
        attempt_id = uuid.uuid4().hex[:12]
        entry = {
            "attempt": attempt_id,
            "event": "start",
            "kind": kind,
            "name": name,
            "trial": trial,
            "number": 1 + self._count_starts(kind, name, trial),
            "devices": devices,
            "device_type": device_type,
            "node": platform.node() if node is None else node,
            "time": now if started_at is None else started_at,
        }
        if device_model is not None:
            entry["device_model"] = device_model
        if process is not None:
            entry["pid"], entry["process_start"] = process
        # What was held until the line is written is known, whatever becomes of the process before its first beat.
        self._write("start", lambda: {**entry, "seconds": round(time.monotonic() - began, 3)})
        _began[attempt_id] = began
        return attempt_id

    def beat(self, attempt_id: str) -> None:
        """Say that an attempt still holds its devices."""
        self._say(attempt_id, "beat")

    def beat_while_open(self, attempt_id: str) -> None:
        """Beat an attempt of this process until it is closed; a beat that the storage refuses is skipped."""
        call_periodically(attempt_id, lambda: self.beat(attempt_id))

    def checkpoint(self, attempt_id: str, step: int) -> None:
        """Say that what an attempt did so far is safe: another one would go on from this step."""
        self._say(attempt_id, "checkpoint", step=step)

    def energy(self, attempt_id: str, worker: int, joules: float) -> None:
        """Say what one worker's devices have used since the attempt began."""
        self._say(attempt_id, "energy", worker=worker, joules=round(joules, 3))

    def end(self, attempt_id: str, status: str) -> None:
        """Close an attempt; the first end that its own process writes counts.

        Raises:
            OSError: if the storage refuses for longer than a run waits for it.
        """
        self._say(attempt_id, "end", status=status)
        _began.pop(attempt_id, None)

    def close_open(self, trial: str | None, status: str) -> list[str]:
        """Close what a process left open when it died; returns the ids of what was closed.

        What begins after this call belongs to those who came after the dead. An attempt that lives on all the same is
        counted on by its beats, and its own end replaces this one.

        Args:
            trial: whose attempts; None for those of every trial.
            status: ``failed`` or ``interrupted``.
        """
        known_at = time.time()
        self.fetch()
        left = [
            one.attempt_id
            for one in self.attempts()
            if one.status == "open" and one.started_at <= known_at and trial in (None, one.trial)
        ]
        for attempt_id in left:
            self.close(attempt_id, status, known_at)
        return left

    def close(self, attempt_id: str, status: str, at: float | None = None) -> None:
        """Close one attempt from without, now or as of a time (seconds since the epoch): its process is dead.

        Raises:
            OSError: if the storage refuses for longer than a run waits for it.
        """
        known_at = time.time() if at is None else at
        self.append({"attempt": attempt_id, "event": "close", "status": status, "time": known_at})

    def close_abandoned(self) -> None:
        """Close what former drivers left open, each at its own last beat: nothing was held in between.

        Only for a driver that has the run to itself, before it starts anything.

        Raises:
            OSError: if the storage refuses for longer than a run waits for it.
        """
        for one in self.attempts():
            if one.status == "open":
                entry = {"attempt": one.attempt_id, "event": "close", "status": "interrupted", "seconds": one.seconds}
                self.append({**entry, "time": time.time()})

    @contextmanager
    def attempt(
        self,
        kind: Kind,
        name: str,
        trial: str,
        devices: float,
        device_type: str,
        *,
        node: str | None = None,
        device_model: str | None = None,
        interrupted_by: tuple[type[Exception], ...] = (),
    ) -> Iterator[str]:
        """An attempt that beats by itself and ends with the context, whatever ends it.

        ``interrupted_by`` are exceptions that tell of a stop and not of a failure; Ctrl-C always is one.
        """
        attempt_id = self.start(kind, name, trial, devices, device_type, node=node, device_model=device_model)
        self.beat_while_open(attempt_id)
        status = "interrupted"  # Ctrl-C, or a worker that was asked to exit
        try:
            yield attempt_id
            status = "finished"
        except Exception as error:
            if not isinstance(error, interrupted_by):
                status = "failed"
            raise
        finally:
            stop_calls(attempt_id)
            # Work that is done must not fail because its clock cannot be stopped: its beats stand for its end.
            with suppress(OSError):
                self.end(attempt_id, status)

    def attempts(self) -> list[Attempt]:
        """Every attempt, in the order of starting; a torn, foreign or damaged line is passed over."""
        return read_attempts(self.path)

    def files(self) -> list[Path]:
        """The files that its lines lie in, in a stable order; the one of a folder may not be there yet."""
        return ledger_files(self.path)

    def fetch(self) -> None:
        """Fetch what other nodes wrote, for a ledger in a bucket.

        Raises:
            StorageError: if it cannot be fetched in time.
        """
        self._storage.fetch(self.segments)

    def fetch_if_due(self) -> None:
        """The same, at most every few seconds, and not at all while the bucket is away."""
        self._storage.fetch_if_due(self.segments, self._storage.fetch)

    def copy_to(self, path: Path) -> None:
        """Add all lines to another ledger."""
        other = Ledger(self._storage, path)
        for entry in _entries(self.path):
            append_line(other.own_path, json.dumps(entry, sort_keys=True), is_synced=False)
        self._storage.upload_later(other.own_path)

    def _count_starts(self, kind: Kind, name: str, trial: str) -> int:
        """How often that began; of a long sweep's ledger, the lines of its thousand other trials are not parsed."""
        own = (kind, name, trial)
        found = _entries(self.path, '"event": "start"', f'"trial": {json.dumps(trial)}')
        return sum((entry["kind"], entry["name"], entry["trial"]) == own for entry in found)

    def _say(self, attempt_id: str, event: str, **more: Any) -> None:
        def now() -> dict[str, Any]:
            # A process that has to wait for the storage holds its devices until then.
            entry = {"attempt": attempt_id, "event": event, "time": round(time.time(), 3), **more}
            if attempt_id in _began:
                entry["seconds"] = round(time.monotonic() - _began[attempt_id], 3)
            return entry

        self._write(event, now)


def read_attempts(path: Path) -> list[Attempt]:
    """Every attempt of a ledger's file, or segments, in the order of starting; a damaged line is passed over."""
    return attempts_of(_entries(path))


def ledger_files(path: Path) -> list[Path]:
    """The files that a ledger's lines lie in, in a stable order; the first may not be there."""
    return [path, *sorted(path.with_suffix("").glob("*.jsonl"))]


def _entries(path: Path, *holding: str) -> Iterator[dict[str, Any]]:
    files = ledger_files(path)
    found = (entry for file in files for entry in sound_lines(file, holding))
    # A stable order of several clocks' lines; each process's own stay in theirs.
    return iter(sorted(found, key=lambda entry: float(entry["time"]))) if len(files) > 1 else found
