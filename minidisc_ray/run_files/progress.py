"""``progress/TRIAL.json`` in a run directory: how far each trial is, which ``minidisc status`` reads."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import TRANSIENT, StorageError
from minidisc_ray.files.writing import remove, temporary_beside


class Progress(Config):
    """How far one trial is; written atomically, at most about once a second."""

    trial: str
    status: Literal["running", "finished", "failed", "interrupted"]
    stage: str
    stage_index: int = Field(description="1-based.")
    num_stages: int
    step: int = 0
    num_steps: int = 0
    epoch: int = 0
    metric_name: str | None = None
    metric: float | None = Field(None, description="The latest value on the selection split.")
    loss: float | None = Field(None, description="Of the latest step, the sum of its terms.")
    events: tuple[str, ...] = Field((), description="In this attempt: stages reused, candidates dropped, choices.")
    device_hours: float = Field(0.0, description="Held by the trial so far, its earlier attempts included.")
    started_at: float = Field(description="Seconds since the epoch.")
    updated_at: float


@dataclass(frozen=True)
class RunProgress:
    """How far a run or a study is; iterating over it gives the trials.

    Attributes:
        trials: progress of the trials that run; for a single run, of all trials that started.
        num_finished: how many trials are finished, by this command.
        num_left: how many are not, the running ones included.
        seconds_left: until all are finished; None before it can be known.
        waiting: what trials without a worker wait for; None if none waits.
        hours_unit: of the trials' device-hours; ``core-hours`` or ``GPU-hours``.
        may_end_early: whether early stopping may end a stage before its last epoch, and so all sooner.
    """

    trials: Sequence[Progress]
    num_finished: int = 0
    num_left: int = 0
    seconds_left: float | None = None
    waiting: str | None = None
    hours_unit: str = "device-hours"
    may_end_early: bool = False

    def __iter__(self) -> Iterator[Progress]:
        return iter(self.trials)


# Called periodically with the progress of a run or a study.
Watch = Callable[[RunProgress], object]


def write_progress(storage: Storage, run_folder: Path, progress: Progress) -> None:
    """Write a trial's progress atomically; while the storage is away or full, nothing waits and the old file stays."""
    path = run_folder / "progress" / f"{progress.trial}.json"
    temporary = temporary_beside(path)
    try:
        storage.make_folder(path.parent)
        with temporary.open("x", encoding="utf-8") as file:
            file.write(progress.model_dump_json())
        temporary.replace(path)
        storage.upload_later(path)
        if progress.status != "running":
            storage.upload(path)
    except OSError as error:
        remove(temporary)
        if not isinstance(error, StorageError) and error.errno not in (*TRANSIENT, errno.ENOENT):
            raise


def read_progress(run_folder: Path) -> list[Progress]:
    """Every trial's progress, by trial name; unreadable files are left out."""
    found = (_read(path) for path in sorted((run_folder / "progress").glob("*.json")))
    return [progress for progress in found if progress is not None]


def read_trial_progress(run_folder: Path, trial: str) -> Progress | None:
    """One trial's progress; None if there is none, or it is unreadable."""
    return _read(run_folder / "progress" / f"{trial}.json")


class ProgressReader:
    """Polls a run's progress; reads a file again only when it was replaced, since most trials of a sweep are over."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder / "progress"
        self._known: dict[str, tuple[tuple[int, int, int], Progress | None]] = {}

    def read(self) -> list[Progress]:
        """As :func:`read_progress`."""
        try:
            with os.scandir(self._folder) as entries:
                found = {entry.name: _stamp(entry.stat()) for entry in entries if entry.name.endswith(".json")}
        except OSError:
            # A file was replaced between listing and stat, or the storage is away.
            return [progress for _, (_, progress) in sorted(self._known.items()) if progress is not None]
        self._known = {
            name: self._known[name]
            if name in self._known and self._known[name][0] == stamp
            else (stamp, _read(self._folder / name))
            for name, stamp in sorted(found.items())
            if not name.startswith(".")
        }
        return [progress for _, progress in self._known.values() if progress is not None]


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> Progress | None:
    try:
        progress = Progress.model_validate(json.loads(read_regular(path).decode("utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    # Callers make paths of the trial's name, so it must be the file's own.
    return progress if progress.trial == path.stem else None


def mark_stopped(storage: Storage, run_folder: Path) -> None:
    """Mark a run's running trials as interrupted, since a killed worker cannot."""
    for progress in read_progress(run_folder):
        if progress.status == "running":
            write_progress(storage, run_folder, progress.model_copy(update={"status": "interrupted"}))


def is_stale(progress: Progress, seconds: float = 60.0) -> bool:
    """Whether a running trial has not updated its progress for so many seconds."""
    return progress.status == "running" and time.time() - progress.updated_at > seconds
