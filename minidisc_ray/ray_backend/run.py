"""A whole run on a cluster, watched from the driver."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from minidisc_ray.pipeline.assemble import finish_run, is_finished, is_trial_finished
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.progress import Progress, read_progress
from minidisc_ray.pipeline.records import read_record
from minidisc_ray.pipeline.result import RunResult, load_result
from minidisc_ray.pipeline.run_directory import open_run, probe_storage
from minidisc_ray.pipeline.shared import importance_folder, teacher_folder
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.resources import trials_at_once
from minidisc_ray.ray_backend.stalls import StallWatch, end_on_its_node
from minidisc_ray.ray_backend.sweep import fit_sweep
from minidisc_ray.ray_backend.trainer import fit_trial
from minidisc_ray.ray_backend.watching import mark_stopped, watched
from minidisc_ray.schedules.plan import SHARED_TRIAL

Watch = Callable[[Sequence[Progress]], None]


def run_on_ray(prepared: Prepared, watch: Watch | None = None) -> RunResult:
    """Execute a plan on the cluster that the recipe names, or on a local Ray, resuming what is there.

    Args:
        prepared: the checked recipe.
        watch: called about twice a second with every trial's progress, in the calling thread.

    Raises:
        UserError: if no node can hold the plan.
        TrainingError: if the run, or every trial of a sweep, failed.
        KeyboardInterrupt: after Ctrl-C; the same call again goes on where this one stopped.
    """
    if is_finished(prepared):
        return load_result(prepared.run_folder)
    started_at = time.time()
    probe_storage(prepared)
    with cluster(prepared.config.compute.address) as nodes:
        at_once = trials_at_once(nodes, prepared.config.compute)
        folder = open_run(prepared)
        stalls = StallWatch(prepared.config.compute.stall_seconds, end_on_its_node)
        try:
            watched(lambda: _execute(prepared, at_once), lambda: _look(folder, started_at, stalls, watch))
        except BaseException:
            mark_stopped(prepared.run_folder)
            raise
    return finish_run(prepared, started_at)


def _execute(prepared: Prepared, at_once: int) -> None:
    plan = prepared.plan
    if not plan.is_sweep:
        (trial,) = plan.trials
        if not is_trial_finished(prepared, trial):
            fit_trial(prepared, trial.name, with_shared=True)
        return
    shared = (teacher_folder(prepared), importance_folder(prepared))
    before = plan.trial(SHARED_TRIAL)
    is_before_finished = before is None or is_trial_finished(prepared, before)
    if not is_before_finished or any(read_record(folder) is None for folder in shared):
        fit_trial(prepared, SHARED_TRIAL, with_shared=True)
    fit_sweep(prepared, at_once)
    if plan.after is not None and not is_trial_finished(prepared, plan.after):
        fit_trial(prepared, plan.after.name, with_shared=False)


def _look(folder: Path, since: float, stalls: StallWatch, watch: Watch | None) -> None:
    """See what is going on now; what an interrupted run left is not."""
    found = [progress for progress in read_progress(folder) if progress.updated_at >= since]
    stalls.look((folder, progress) for progress in found)
    if watch is not None:
        watch(found)
