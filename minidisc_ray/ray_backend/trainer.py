"""One trial on several workers, as a Ray Train job."""

from pathlib import Path
from typing import Any

import ray.exceptions
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Failure
from minidisc_ray.ray_backend.policies.retries import error_sentence, is_worth_a_retry
from minidisc_ray.ray_backend.supervision.holding import HoldingCallback
from minidisc_ray.ray_backend.supervision.naming import NamingCallback, actor_name
from minidisc_ray.ray_backend.worker import train_worker

_CONTROLLER_FAILURES = 3


def fit_trial(prepared: PreparedRun, trial: str, with_shared: bool) -> Failure | None:
    """Execute a trial's steps on several workers; returns a failure that no retry can fix, None if there is none.

    Raises:
        TrainingFailedError, RayActorError: if the group lost a worker, which a retry may fix.
    """
    try:
        failure: Failure | None = _trainer(prepared, trial, with_shared).fit().return_value
    except TrainingFailedError as error:
        failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
        # An error of the code or the data, which a retry would raise again.
        raised = next((each for each in failures if not is_worth_a_retry(each)), None)
        if raised is None:
            raise
        return Failure(error_sentence(raised))
    return failure


def _trainer(prepared: PreparedRun, trial: str, with_shared: bool) -> TorchTrainer:
    compute = prepared.config.compute
    use_gpu = compute.gpus_per_worker > 0
    devices = compute.num_workers * (compute.gpus_per_worker if use_gpu else compute.cpus_per_worker)
    storage = prepared.run_folder / "ray"
    return TorchTrainer(
        train_worker,
        train_loop_config={"run": ray.put(prepared), "trial": trial, "with_shared": with_shared},
        **workers_of(compute),
        run_config=RunConfig(
            name=next_name(storage, trial),
            storage_path=str(storage),
            # Ray would restart the group at once; the queue waits first, and limits preemptions too.
            failure_config=FailureConfig(
                max_failures=0, max_preemption_failures=0, controller_failure_limit=_CONTROLLER_FAILURES
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[
                NamingCallback(actor_name(prepared.name, trial)),
                HoldingCallback(prepared.ledger, trial, devices, "gpu" if use_gpu else "cpu-core"),
            ],
        ),
    )


def workers_of(compute: ComputeConfig) -> dict[str, Any]:
    """Arguments of a ``TorchTrainer`` for its workers: number, resources and backend."""
    use_gpu = compute.gpus_per_worker > 0
    resources = {"CPU": float(compute.cpus_per_worker), **({"GPU": compute.gpus_per_worker} if use_gpu else {})}
    return {
        "scaling_config": ScalingConfig(
            num_workers=compute.num_workers, use_gpu=use_gpu, resources_per_worker=resources
        ),
        "torch_config": TorchConfig(backend="nccl" if compute.gpus_per_worker == 1 else "gloo"),
    }


def last_line(error: str) -> str:
    """The last line of an error's text, which has the message, without the traceback."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "an error without a message"


def next_name(storage: Path, first_part: str) -> str:
    """A new name for a Ray experiment, so that Ray does not resume one: runs resume from their own records."""
    number = 1
    while (storage / f"{first_part}-{number:03d}").exists():
        number += 1
    return f"{first_part}-{number:03d}"
