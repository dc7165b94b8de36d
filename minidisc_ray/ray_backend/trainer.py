"""One trial, or what a sweep's trials share, as a Ray Train job."""

from pathlib import Path

import ray.exceptions
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.ray_backend.holding import HoldingCallback
from minidisc_ray.ray_backend.worker import settings_of, train_worker
from minidisc_ray.training.loop import TrainingError

_CONTROLLER_FAILURES = 3


def fit_trial(prepared: Prepared, trial: str, with_shared: bool) -> None:
    """Run a trial's steps on its workers and wait for them.

    Raises:
        TrainingError: if the trial failed, saying why.
    """
    compute = prepared.config.compute
    use_gpu = compute.gpus_per_worker > 0
    resources = {"CPU": float(compute.cpus_per_worker)}
    if use_gpu:
        resources["GPU"] = compute.gpus_per_worker
    devices = compute.num_workers * (compute.gpus_per_worker if use_gpu else compute.cpus_per_worker)
    storage = prepared.run_folder / "ray"
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=settings_of(prepared, trial, with_shared),
        scaling_config=ScalingConfig(num_workers=compute.num_workers, use_gpu=use_gpu, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if use_gpu and compute.gpus_per_worker == 1 else "gloo"),
        run_config=RunConfig(
            name=_next_name(storage, trial),
            storage_path=str(storage),
            failure_config=FailureConfig(
                max_failures=compute.max_failures, controller_failure_limit=_CONTROLLER_FAILURES
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[
                HoldingCallback(
                    str(prepared.run_folder / "ledger.jsonl"), trial, devices, "gpu" if use_gpu else "cpu-core"
                )
            ],
        ),
    )
    try:
        failure = trainer.fit().return_value
    except (TrainingFailedError, ray.exceptions.RayActorError) as error:
        raise TrainingError(f"trial {trial} failed: {last_line(error)}") from error
    if failure is not None:
        raise TrainingError(f"trial {trial} failed: {failure}")


def last_line(error: BaseException) -> str:
    """The line of an error that says what went wrong, without its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _next_name(storage: Path, trial: str) -> str:
    """A name that Ray has not seen: resuming is the pipeline's, from its own records, not Ray's."""
    number = 1
    while (storage / f"{trial}-{number:03d}").exists():
        number += 1
    return f"{trial}-{number:03d}"
