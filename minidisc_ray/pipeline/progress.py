"""``progress/TRIAL.json`` in a run directory: what ``minidisc status`` reads while a run is live."""

import errno
import json
import time
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config
from minidisc_ray.files.patience import TRANSIENT
from minidisc_ray.files.writing import make_folder, remove, temporary_beside


class Progress(Config):
    """Where one trial stands; written atomically, at most about once a second."""

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
    device_hours: float = 0.0
    started_at: float = Field(description="Seconds since the epoch.")
    updated_at: float


def write_progress(run_folder: Path, progress: Progress) -> None:
    """Replace a trial's progress file; a reader never sees half of it.

    It is for whoever looks, so nothing waits for it: while the storage is away or full, what it last said stays.
    """
    path = run_folder / "progress" / f"{progress.trial}.json"
    temporary = temporary_beside(path)
    try:
        make_folder(path.parent)
        temporary.write_text(progress.model_dump_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        remove(temporary)
        if error.errno not in (*TRANSIENT, errno.ENOENT):
            raise


def read_progress(run_folder: Path) -> list[Progress]:
    """Every trial's progress, by trial name; unreadable files are left out."""
    found = []
    for path in sorted((run_folder / "progress").glob("*.json")):
        try:
            found.append(Progress.model_validate(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, ValidationError):
            continue
    return found


def is_stale(progress: Progress, seconds: float = 60.0) -> bool:
    """Whether a trial that calls itself running has not been heard of for a while."""
    return progress.status == "running" and time.time() - progress.updated_at > seconds
