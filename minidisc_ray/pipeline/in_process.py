"""A whole run in this process, without Ray: for tests, notebooks, and machines where Ray is not wanted."""

import time

import torch

from minidisc_ray.pipeline.assemble import finish_run, is_finished, is_trial_finished
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.result import RunResult, load_result
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.pipeline.trial import run_shared, run_trial
from minidisc_ray.training.workers import Workers


def run_in_process(prepared: Prepared, device: str = "cpu") -> RunResult:
    """Execute every trial, one after another, resuming what is there."""
    if is_finished(prepared):
        return load_result(prepared.run_folder)
    started_at = time.time()
    open_run(prepared)
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    workers = Workers(device=torch.device(device))
    for trial in prepared.plan.all_trials():
        if is_trial_finished(prepared, trial):
            continue
        context = Context(prepared, workers, trial.name, num_stages=len(prepared.plan.shared) + len(trial.steps))
        with context.ledger.attempt("hold", "process", trial.name, context.devices, context.device_type):
            run_shared(context, prepared.plan.shared)
            run_trial(context, trial)
        context.progress(trial.steps[-1].name, "finished")
    return finish_run(prepared, started_at)
