"""One trial, or what a sweep's trials share, as a Ray Train job."""

import logging
import time
from pathlib import Path

import ray.exceptions
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.base import UserError
from minidisc_ray.files.mirroring import place_of
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.retries import Attempts, RetryPolicy, error_sentence, is_worth_a_retry
from minidisc_ray.ray_backend.supervision.holding import HoldingCallback
from minidisc_ray.ray_backend.supervision.watching import is_stopped
from minidisc_ray.ray_backend.worker import settings_of, train_worker
from minidisc_ray.run_files.mirrored import fetch_progress
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.training.loop import TrainingError

logger = logging.getLogger("minidisc_ray")

_CONTROLLER_FAILURES = 3


def fit_trial(prepared: PreparedRun, trial: str, with_shared: bool) -> None:
    """Run a trial's steps on its workers and wait for them; a group that lost a worker is made anew, after a while.

    Raises:
        UserError: if the recipe, its data or its models are to blame.
        TrainingError: if the trial failed, or lost its workers too often, saying why.
    """
    attempts = Attempts(RetryPolicy.of(prepared.config.compute))
    while True:
        try:
            failure = _trainer(prepared, trial, with_shared).fit().return_value
        except (TrainingFailedError, ray.exceptions.RayActorError) as error:
            if is_stopped():
                raise
            Ledger(prepared.run_folder / "ledger.jsonl").close_open(trial, "failed")
            if (raised := _raised_by_code(error)) is not None:
                raise TrainingError(f"trial {trial} failed: {error_sentence(raised)}") from error
            fetch_progress(prepared.run_folder)
            was_preempted = any(
                found.trial == trial and found.status == "interrupted" for found in read_progress(prepared.run_folder)
            )
            wait = attempts.wait_after(was_preempted)
            if wait is None:
                raise TrainingError(f"trial {trial} failed: {last_line(str(error))}") from error
            logger.warning(
                "%s: trial %s lost a worker (%s) and goes on from its newest checkpoint in %g s",
                prepared.name,
                trial,
                last_line(str(error)),
                wait,
            )
            time.sleep(wait)
            continue
        if failure is not None and failure.is_users:
            raise UserError(failure.sentence)
        if failure is not None:
            raise TrainingError(f"trial {trial} failed: {failure.sentence}")
        return


def _raised_by_code(error: BaseException) -> BaseException | None:
    """The exception of a worker's code that ended its group and would be raised again; None if there is none."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return next((each for each in failures if not is_worth_a_retry(each)), None)


def _trainer(prepared: PreparedRun, trial: str, with_shared: bool) -> TorchTrainer:
    compute = prepared.config.compute
    use_gpu = compute.gpus_per_worker > 0
    resources = {"CPU": float(compute.cpus_per_worker)}
    if use_gpu:
        resources["GPU"] = compute.gpus_per_worker
    devices = compute.num_workers * (compute.gpus_per_worker if use_gpu else compute.cpus_per_worker)
    storage = prepared.run_folder / "ray"
    return TorchTrainer(
        train_worker,
        train_loop_config=settings_of(prepared, trial, with_shared),
        scaling_config=ScalingConfig(num_workers=compute.num_workers, use_gpu=use_gpu, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if use_gpu and compute.gpus_per_worker == 1 else "gloo"),
        run_config=RunConfig(
            name=_next_name(storage, trial),
            storage_path=str(storage),
            # Ray would start the group again at once; here it waits, and is bounded for preemptions too.
            failure_config=FailureConfig(
                max_failures=0, max_preemption_failures=0, controller_failure_limit=_CONTROLLER_FAILURES
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[
                HoldingCallback(
                    place_of(prepared.run_folder / "ledger.jsonl"),
                    trial,
                    devices,
                    "gpu" if use_gpu else "cpu-core",
                    prepared.config.storage,
                    compute.storage_patience_seconds,
                )
            ],
        ),
    )


def last_line(error: str) -> str:
    """The line of an error that says what went wrong, without its traceback."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "an error without a message"


def _next_name(storage: Path, trial: str) -> str:
    """A name that Ray has not seen: resuming is the pipeline's, from its own records, not Ray's."""
    number = 1
    while (storage / f"{trial}-{number:03d}").exists():
        number += 1
    return f"{trial}-{number:03d}"
