"""A whole estimate in this process, without Ray."""

import time

import torch

from minidisc_ray.estimate.predict import alternatives, load_average, predict_costs
from minidisc_ray.estimate.records import Estimate
from minidisc_ray.estimate.stage_timer import StageTimer
from minidisc_ray.estimate.temporary_storage import moved_to, temporary_storage
from minidisc_ray.estimate.timings import Overheads
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.training.workers import Workers


def estimate_in_process(prepared: PreparedRun, budget_seconds: float, device: str = "cpu") -> Estimate:
    """Time a few real steps here, and predict runs in this process, one trial after another."""
    load = load_average()
    found = alternatives(prepared)
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    with temporary_storage(prepared) as storage:
        here = moved_to(found.timed, storage)
        started_at = time.perf_counter()
        prepare(here.config, here.splits)
        prepare_seconds = time.perf_counter() - started_at
        timer = StageTimer(here, Workers(device=torch.device(device)), None, budget_seconds)
        timings = timer.time(found.assistant_scales)
    overheads = Overheads(trial_seconds=prepare_seconds)
    return predict_costs(found, prepared, timings, overheads).model_copy(update={"load_average": load})
