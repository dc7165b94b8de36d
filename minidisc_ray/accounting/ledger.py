"""An append-only record of every attempt, failed ones included: one JSON object a line.

An attempt writes a line at its start, at each beat and checkpoint, and at its end. A killed attempt writes no end: the
process that saw it die writes a ``close`` line, else the attempt ends at its last beat. Seconds are seconds *held*, by
the monotonic clock in lines that the process of the attempt wrote.
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
from minidisc_ray.accounting.lines import valid_lines
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import append_line

# When each attempt of this process began, by the monotonic clock: wall clocks may be set back.
_began: dict[str, float] = {}
# Tells apart processes of the same host name and number, as in containers.
_PROCESS_TAG = secrets.token_hex(3)


class Ledger:
    """Appends to and reads one ledger file; several processes may write to it at once.

    Objects of a bucket cannot be appended to: there each process writes a segment of its own,
    ``ledger/HOST-PID-RANDOM.jsonl`` beside the file's name, and the ledger is all segments together.

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
        return self.segments / f"{host}-{os.getpid()}-{_PROCESS_TAG}.jsonl"

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line; lines of concurrent writers do not mix, since one short write in append mode is atomic.

        Only a start creates the file: a later line must not recreate a run that was removed.

        Raises:
            OSError: if the line cannot be written whole.
        """
        self._write(str(entry.get("event")), lambda: entry)

    def _write(self, event: str, entry_now: Callable[[], dict[str, Any]]) -> None:
        # A run copied from a folder to a bucket, or back, has its earlier lines under the other name.
        create = event == "start" or self.path.is_file() or self.segments.is_dir()

        def line() -> str:
            return json.dumps(entry_now(), sort_keys=True)

        if event in ("start", "end", "close"):
            self._storage.append_line(self.own_path, line, create)
        else:
            # Without waiting for a storage that is away: the timer thread would write no beat meanwhile.
            append_line(self.own_path, line(), create, is_synced=False)
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
        """Open an attempt; returns its id.

        Args:
            kind: ``stage`` or ``hold``.
            name: of the stage, or of what holds the resources.
            trial: that it belongs to.
            devices: how many are held.
            device_type: their unit, ``cpu-core`` or a GPU's name.
            started_at: when it began, in seconds since the epoch; None is now.
            node: where; by default this machine's name.
            device_model: product name of a device, for instance the processor's.
            process: pid and start of the process that holds them, so that the driver can end it when it hangs.
        """
        # The clocks are read first: what follows may wait for the storage.
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
        # The line says what was held until it was written, should the process die before its first beat.
        self._write("start", lambda: {**entry, "seconds": round(time.monotonic() - began, 3)})
        _began[attempt_id] = began
        return attempt_id

    def beat(self, attempt_id: str) -> None:
        """Record that an attempt still holds its devices."""
        self._write_now(attempt_id, "beat")

    def beat_while_open(self, attempt_id: str) -> None:
        """Write beats of an attempt until :func:`stop_calls` with its id; a beat that fails is skipped."""
        call_periodically(attempt_id, lambda: self.beat(attempt_id))

    def checkpoint(self, attempt_id: str, step: int) -> None:
        """Record that an attempt wrote a checkpoint: another attempt would go on from this step."""
        self._write_now(attempt_id, "checkpoint", step=step)

    def energy(self, attempt_id: str, worker: int, joules: float) -> None:
        """Record what one worker's devices used since the attempt began."""
        self._write_now(attempt_id, "energy", worker=worker, joules=round(joules, 3))

    def end(self, attempt_id: str, status: str) -> None:
        """Record the end of an attempt of this process; its first end counts.

        Raises:
            OSError: if the storage is away for longer than a run waits for it.
        """
        self._write_now(attempt_id, "end", status=status)
        _began.pop(attempt_id, None)

    def close_open(self, trial: str | None, status: str) -> list[str]:
        """Close the attempts that a dead process left open; returns their ids.

        Attempts that start after this call began stay open. If a closed attempt lives on all the same, its beats still
        count, and its own end replaces this one.

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
        """Close an attempt of another process, which is dead.

        Args:
            attempt_id: of the attempt.
            status: ``failed`` or ``interrupted``.
            at: when it ended, in seconds since the epoch; None is now.

        Raises:
            OSError: if the storage is away for longer than a run waits for it.
        """
        known_at = time.time() if at is None else at
        self.append({"attempt": attempt_id, "event": "close", "status": status, "time": known_at})

    def close_abandoned(self) -> None:
        """Close the attempts that earlier drivers left open, each at its last beat: nothing was held since.

        Only for a driver that has the lease of the run, before it starts anything.

        Raises:
            OSError: if the storage is away for longer than a run waits for it.
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
        """Open an attempt, write its beats, and end it with the context; yields its id.

        ``interrupted_by`` are exceptions that mean a stop and not a failure; Ctrl-C always means a stop.
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
            # Work that is done must not fail for a missing line: without an end the last beat counts.
            with suppress(OSError):
                self.end(attempt_id, status)

    def attempts(self) -> list[Attempt]:
        """See :func:`read_attempts`."""
        return read_attempts(self.path)

    def files(self) -> list[Path]:
        """See :func:`ledger_files`."""
        return ledger_files(self.path)

    def fetch(self) -> None:
        """Fetch the segments of other nodes from a bucket.

        Raises:
            StorageError: if it cannot be fetched in time.
        """
        self._storage.fetch(self.segments)

    def fetch_if_due(self) -> None:
        """As :meth:`fetch`, at most every few seconds; does nothing while the bucket is away."""
        self._storage.fetch_if_due(self.segments, self._storage.fetch)

    def copy_to(self, path: Path) -> None:
        """Add all lines to another ledger."""
        other = Ledger(self._storage, path)
        for entry in _entries(self.path):
            append_line(other.own_path, json.dumps(entry, sort_keys=True), is_synced=False)
        self._storage.upload_later(other.own_path)

    def _count_starts(self, kind: Kind, name: str, trial: str) -> int:
        """How many such attempts the ledger has; lines of a sweep's other trials are not parsed."""
        own = (kind, name, trial)
        found = _entries(self.path, '"event": "start"', f'"trial": {json.dumps(trial)}')
        return sum((entry["kind"], entry["name"], entry["trial"]) == own for entry in found)

    def _write_now(self, attempt_id: str, event: str, **more: Any) -> None:
        def now() -> dict[str, Any]:
            # Evaluated at each try: a process that waits for the storage holds its devices until then.
            entry = {"attempt": attempt_id, "event": event, "time": round(time.time(), 3), **more}
            if attempt_id in _began:
                entry["seconds"] = round(time.monotonic() - _began[attempt_id], 3)
            return entry

        self._write(event, now)


def read_attempts(path: Path) -> list[Attempt]:
    """Every attempt of a ledger, from its file or segments, in the order of their starts; damaged lines are skipped."""
    return attempts_of(_entries(path))


def ledger_files(path: Path) -> list[Path]:
    """The files of a ledger, in a stable order; the first may not exist: a bucket has segments only."""
    return [path, *sorted(path.with_suffix("").glob("*.jsonl"))]


def _entries(path: Path, *holding: str) -> Iterator[dict[str, Any]]:
    files = ledger_files(path)
    found = (entry for file in files for entry in valid_lines(file, holding))
    # By the clocks of all writers; lines of the same time stay in the order of their file.
    return iter(sorted(found, key=lambda entry: float(entry["time"]))) if len(files) > 1 else found
