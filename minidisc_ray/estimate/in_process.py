"""Timing in a storage that goes again, and a whole estimate in this process, without Ray."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.estimate.predict import alternatives, load_average, predict_costs
from minidisc_ray.estimate.records import Estimate
from minidisc_ray.estimate.stage_timer import StageTimer
from minidisc_ray.estimate.timings import Overheads
from minidisc_ray.files.patience import restoring_storage
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.training.workers import Workers


@restoring_storage()
def estimate_in_process(prepared: PreparedRun, budget_seconds: float, device: str = "cpu") -> Estimate:
    """Time a few real steps here, and predict runs in this process, one trial after another."""
    load = load_average()
    found = alternatives(prepared)
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    with storage_beside(prepared) as storage:
        here = moved_to(found.timed, storage)
        started_at = time.perf_counter()
        prepare(here.config, here.splits)
        prepare_seconds = time.perf_counter() - started_at
        timer = StageTimer(here, Workers(device=torch.device(device)), None, budget_seconds)
        timings = timer.time(found.assistant_scales)
    overheads = Overheads(trial_seconds=prepare_seconds)
    return predict_costs(found, prepared, timings, overheads).model_copy(update={"load_average": load})


def moved_to(prepared: PreparedRun, storage: Path) -> PreparedRun:
    """The same run in another storage, its folder made."""
    moved = replace(prepared, config=prepared.config.model_copy(update={"storage": str(storage)}), encoded={})
    open_run(moved)
    return moved


@contextmanager
def storage_beside(prepared: PreparedRun) -> Iterator[Path]:
    """A folder on the file system of the recipe's storage, where checkpoints will be written; it goes in any case.

    Its name is that of a leftover, which ``minidisc clean`` removes should this process be killed.

    Raises:
        UserError: if it cannot be made.
    """
    parent = prepared.storage
    while not parent.is_dir():
        parent = parent.parent
    folder = parent / f".estimate.tmp{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise UserError(f"storage: {prepared.storage} cannot be written ({error.strerror})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
