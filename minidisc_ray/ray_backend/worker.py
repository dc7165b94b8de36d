"""Executes a trial's steps on a worker: a Tune actor, or a worker of a Ray Train group."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.storage import Storage
from minidisc_ray.log import logger
from minidisc_ray.pipeline.context import Context, Report
from minidisc_ray.pipeline.trial import run_shared, run_trial
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Failure
from minidisc_ray.ray_backend.policies.retries import error_sentence, is_worth_a_retry
from minidisc_ray.ray_backend.supervision.holding import node_id
from minidisc_ray.ray_backend.supervision.leaving import watch_training
from minidisc_ray.ray_backend.supervision.stalls import write_worker_process
from minidisc_ray.run_files.fetching import fetch_for_trial
from minidisc_ray.schedules.plan import Trial
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.workers import Workers


def for_workers(run: PreparedRun) -> PreparedRun:
    """Copy a run for workers, without the cluster's address, which may contain a password."""
    compute = run.config.compute.model_copy(update={"address": None})
    return replace(run, config=run.config.model_copy(update={"compute": compute}), encoded={})


def execute_trial(
    prepared: PreparedRun, trial_name: str, with_shared: bool, workers: Workers, report: Report | None
) -> Failure | None:
    """Execute one trial's steps on this worker; returns a failure that no retry can fix, None if there is none.

    Args:
        prepared: the run, as the driver checked it.
        trial_name: of the trial.
        with_shared: whether to make the teacher and the importance first.
        workers: rank of this worker, and number of the trial's workers.
        report: called after each epoch.

    Raises:
        Exception: any error that a retry may fix; with several workers any error of the code too, since the other
            workers would wait for this one.
    """
    _log_to_stderr()
    compute = prepared.config.compute
    prepared.wait_for_storage()
    torch.set_num_threads(compute.cpus_per_worker)
    fetch_for_trial(
        prepared.storage, prepared.run_folder, trial_name, (prepared.teacher_folder, prepared.importance_folder)
    )
    trial = prepared.plan.trial(trial_name) or Trial(trial_name, ())
    shared = prepared.plan.shared if with_shared else ()
    num_stages = len(shared) + len(trial.steps)
    context = Context(prepared, workers, trial_name, num_stages, report, node=node_id())
    if workers.is_first:
        write_worker_process(prepared.storage, prepared.run_folder, trial_name)
    progress_file = prepared.run_folder / "progress" / f"{trial_name}.json"
    try:
        with watch_training(progress_file, compute.stall_seconds):
            run_shared(context, shared)
            run_trial(context, trial)
    except (UserError, TrainingError) as error:
        return Failure(str(error), isinstance(error, UserError))
    except Exception as error:
        if workers.size > 1 or is_worth_a_retry(error):
            raise
        logger.exception("[%s] stopped by an error in the code", trial_name)
        return Failure(error_sentence(error))
    context.progress((trial.steps or shared)[-1].name, "finished")
    return None


def train_worker(settings: dict[str, Any]) -> Failure | None:
    """The training function of a ``TorchTrainer``; the settings name the run in Ray's object store."""
    prepared: PreparedRun = ray.get(settings["run"])
    # With a bucket, Ray's storage is a folder of the driver's node, which other nodes cannot write.
    has_pointers = not prepared.storage.is_bucket
    place = ray.train.get_context()
    workers = Workers(place.get_world_rank(), place.get_world_size(), ray.train.torch.get_device())
    report = report_to_train(prepared.storage) if workers.is_first and has_pointers else report_metrics
    return execute_trial(prepared, settings["trial"], settings["with_shared"], workers, report)


def report_to_train(storage: Storage) -> Report:
    """Return a function that reports to Ray Train, with a small checkpoint that points to ours in the storage."""

    def leave_pointer(name: str, checkpoint: Path) -> ray.train.Checkpoint:
        # Ray's own upload would fail the worker when the storage is full for a moment.
        folder = Path(ray.train.get_context().get_storage().experiment_fs_path) / name
        storage.write_json(folder / "pointer.json", {"checkpoint": str(checkpoint)})
        return ray.train.Checkpoint.from_directory(folder)

    def report(metrics: dict[str, float], checkpoint: Path) -> None:
        ray.train.report(
            metrics,
            checkpoint=ray.train.Checkpoint.from_directory(checkpoint),
            checkpoint_upload_fn=lambda _, name: leave_pointer(name, checkpoint),
            delete_local_checkpoint_after_upload=False,
        )

    return report


def report_metrics(metrics: dict[str, float], checkpoint: Path) -> None:  # noqa: ARG001
    """Report to Ray Train without a checkpoint."""
    ray.train.report(metrics)


def _log_to_stderr() -> None:
    """Log to stderr, which the dashboard and ``ray logs`` show."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
