"""A whole run in this process, without Ray: for tests, notebooks, and machines where Ray is not wanted."""

import time

import torch

from minidisc_ray.driver.lease import leased
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.early_end import should_run
from minidisc_ray.pipeline.finish import finish_run, is_finished, is_trial_finished
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, own_result
from minidisc_ray.pipeline.trial import run_shared, run_trial
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.storage_check import check_storage
from minidisc_ray.run_files.fetching import fetch_for_trial, fetch_run, probe_bucket
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.plan import Trial
from minidisc_ray.training.notice import stopping_on_sigterm
from minidisc_ray.training.workers import Workers


def run_in_process(prepared: PreparedRun, device: str = "cpu") -> RunResult:
    """Execute the run's trials one after another, resuming any that an earlier attempt began.

    Raises:
        UserError: if another driver executes the run.
        Preempted: after a SIGTERM in the main thread; the run saves a checkpoint at its next step and stops.
    """
    storage, folder = prepared.storage, prepared.run_folder
    probe_bucket(storage)
    fetch_run(storage, folder)
    if is_finished(prepared):
        return own_result(prepared)
    configure_storage_retries([prepared])
    check_storage(storage, prepared.config.storage, prepared.name, prepared.identity)
    with leased(storage, folder):
        fetch_run(storage, folder, is_exclusive=True)
        # Another driver may have finished it while this one waited for the lease.
        return own_result(prepared) if is_finished(prepared) else _run(prepared, device)


def _run(prepared: PreparedRun, device: str) -> RunResult:
    started_at = time.time()
    open_run(prepared)
    prepared.wait_for_storage()
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    workers = Workers(device=torch.device(device))
    with stopping_on_sigterm():
        for trial in prepared.plan.all_trials():
            if not is_trial_finished(prepared, trial) and should_run(prepared, trial):
                num_stages = len(prepared.plan.shared) + len(trial.steps)
                _run_trial(Context(prepared, workers, trial.name, num_stages), trial)
    return finish_run(prepared, started_at)


def _run_trial(context: Context, trial: Trial) -> None:
    prepared = context.prepared
    artifacts = (prepared.teacher_folder, prepared.importance_folder)
    fetch_for_trial(prepared.storage, prepared.run_folder, context.trial, artifacts)
    with context.hold():
        run_shared(context, context.prepared.plan.shared)
        run_trial(context, trial)
    context.progress(trial.steps[-1].name, "finished")
