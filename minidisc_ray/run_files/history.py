"""``history/TRIAL.jsonl`` in a run directory: a line for every epoch, for reports and trackers."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import append_line
from minidisc_ray.training.state import EpochRecord

_FOLDER = "history"
# A line has a few hundred bytes.
_HISTORY_BYTES = 2**30


class EpochNote(Config):
    """One epoch of one stage."""

    trial: str
    stage: str
    step: int = Field(description="Optimiser steps of the stage so far.")
    at: float = Field(description="Seconds since the epoch.")
    epoch: EpochRecord


def append_epoch(storage: Storage, run_folder: Path, trial: str, stage: str, step: int, epoch: EpochRecord) -> None:
    """Record an epoch; an error of the storage is ignored, so that training goes on."""
    note = EpochNote(trial=trial, stage=stage, step=step, at=time.time(), epoch=epoch)
    path = run_folder / _FOLDER / f"{trial}.jsonl"
    with suppress(OSError):
        storage.make_folder(path.parent)
        append_line(path, note.model_dump_json(), is_synced=False)
        storage.upload_later(path)


def read_history(run_folder: Path) -> list[EpochNote]:
    """Every epoch by trial and stage; the later one where it was trained twice. Damaged lines are skipped."""
    found: dict[tuple[str, str, int], EpochNote] = {}
    for path in sorted((run_folder / _FOLDER).glob("*.jsonl")):
        with suppress(OSError):
            for note in _notes(read_regular(path, _HISTORY_BYTES).decode("utf-8", errors="replace").splitlines()):
                found[note.trial, note.stage, note.epoch.epoch] = note
    return list(found.values())


def _notes(lines: Iterable[str]) -> Iterable[EpochNote]:
    for line in lines:
        with suppress(ValueError, ValidationError):
            yield EpochNote.model_validate(json.loads(line))
