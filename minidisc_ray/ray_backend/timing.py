"""Times a few real steps on workers of the recipe's cluster, to predict the costs of whole runs."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
import ray.train.torch
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from minidisc_ray.configs.base import UserError
from minidisc_ray.estimate.predict import Alternatives, alternatives, load_average, predict_costs
from minidisc_ray.estimate.records import Estimate
from minidisc_ray.estimate.stage_timer import StageTimer
from minidisc_ray.estimate.temporary_storage import moved_to, temporary_storage
from minidisc_ray.estimate.timings import Overheads, Timings
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.policies.resources import trials_at_once
from minidisc_ray.ray_backend.supervision.holding import HoldingCallback
from minidisc_ray.ray_backend.supervision.watching import in_thread
from minidisc_ray.ray_backend.trainer import last_line, workers_of
from minidisc_ray.ray_backend.worker import for_workers, report_metrics, report_to_train
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.workers import Workers

BUDGET_SECONDS = 60.0
_TIMING = "timing"
_LEDGER = "timing.jsonl"
Settings = dict[str, Any]


def estimate_on_ray(prepared: PreparedRun, budget_seconds: float = BUDGET_SECONDS) -> Estimate:
    """Time a few real steps on the recipe's cluster, or on a local Ray, and predict the costs of whole runs.

    Leaves no files.

    Args:
        prepared: the checked recipe.
        budget_seconds: about how long the steps may take, without Ray's start.

    Raises:
        UserError: if no node can hold the plan.
        TrainingError: if a step failed.
        KeyboardInterrupt: after Ctrl-C.
    """
    load = load_average()
    found = alternatives(prepared)
    results: list[tuple[Timings, Overheads]] = []
    # The folder is removed after the cluster has ended: workers could still write to it before.
    with temporary_storage(prepared) as storage:
        started_at = time.perf_counter()
        with cluster(prepared.config.compute.address) as nodes:
            startup_seconds = time.perf_counter() - started_at
            at_once = trials_at_once(nodes, prepared.config.compute)
            with in_thread(lambda: results.append(_measure(found, storage, at_once, budget_seconds))) as is_running:
                while is_running():
                    pass
            done_at = time.perf_counter()
        cluster_seconds = startup_seconds + time.perf_counter() - done_at
    ((timings, overheads),) = results
    overheads = overheads.model_copy(update={"cluster_seconds": cluster_seconds})
    return predict_costs(found, prepared, timings, overheads).model_copy(update={"load_average": load})


def _measure(found: Alternatives, storage: Path, at_once: int, budget_seconds: float) -> tuple[Timings, Overheads]:
    here = moved_to(found.timed, storage)
    folder = here.run_folder
    settings: Settings = {
        "run": ray.put(for_workers(here)),
        "assistant_scales": found.assistant_scales,
        "budget_seconds": budget_seconds,
    }
    started_at = time.perf_counter()
    timed = _fit(here, settings, folder)
    seconds = time.perf_counter() - started_at
    timings = Timings.model_validate(timed["timings"])
    held = sum(attempt.seconds for attempt in here.ledger.attempts())
    startup = max(0.0, held - timed["seconds"])
    trials = max(len(other.plan.trials) for other in found.runs.values())
    overheads = Overheads(
        job_seconds=max(0.0, seconds - held),
        startup_seconds=startup,
        sweep_seconds=startup,
        trial_seconds=timed["prepare_seconds"],
        at_once=at_once,
    )
    copies = min(at_once, trials)
    if copies < 2 or here.config.compute.num_workers > 1 or not found.assistant_scales:
        return timings, overheads
    sweep_seconds, slowdown = _time_concurrent(here, settings, copies)
    return timings, overheads.model_copy(update={"sweep_seconds": sweep_seconds, "slowdown": slowdown})


def _fit(prepared: PreparedRun, settings: Settings, folder: Path) -> dict[str, Any]:
    """Time the stages in a Train job like a trial's, with a hold in the ledger."""
    trainer = TorchTrainer(
        _time_on_worker,
        train_loop_config=settings,
        **workers_of(prepared.config.compute),
        run_config=RunConfig(
            name=_TIMING,
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=1),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[HoldingCallback(prepared.ledger, _TIMING, 1.0, "worker-group")],
        ),
    )
    try:
        timed = trainer.fit().return_value
    except (TrainingFailedError, ray.exceptions.RayActorError) as error:
        raise TrainingError(f"timing failed: {last_line(str(error))}") from error
    if "failure" in timed:
        raise TrainingError(f"timing failed: {timed['failure']}")
    return dict(timed)


def _time_on_worker(settings: Settings) -> dict[str, Any]:
    """The training function of the Train job; Ray returns the first worker's value."""
    place = ray.train.get_context()
    workers = Workers(place.get_world_rank(), place.get_world_size(), ray.train.torch.get_device())
    started_at = time.perf_counter()
    prepared = _prepared(settings)
    prepare_seconds = time.perf_counter() - started_at
    try:
        report = report_to_train(prepared.storage) if workers.is_first else report_metrics
        timer = StageTimer(prepared, workers, report, settings["budget_seconds"])
        timings = timer.time(settings["assistant_scales"])
    except (UserError, TrainingError) as error:
        return {"failure": str(error)}
    seconds = time.perf_counter() - started_at
    return {"timings": timings.model_dump(mode="json"), "prepare_seconds": prepare_seconds, "seconds": seconds}


def _time_concurrent(prepared: PreparedRun, settings: Settings, copies: int) -> tuple[float, float]:
    """Time workers like a sweep's; returns seconds until all are up, and how much slower a step is with all busy."""
    compute = prepared.config.compute
    worker = ray.remote(num_cpus=compute.cpus_per_worker, num_gpus=compute.gpus_per_worker, max_restarts=0)(
        _ConcurrentTimer
    )
    started_at = time.perf_counter()
    actors = [worker.remote(settings, number) for number in range(copies)]
    try:
        ray.get([actor.is_ready.remote() for actor in actors])
        ready_seconds = time.perf_counter() - started_at
        ray.get([actor.begin.remote() for actor in actors])
        alone = float(ray.get(actors[0].token_seconds.remote("alone")))
        beside = [float(found) for found in ray.get([actor.token_seconds.remote("beside") for actor in actors])]
    except ray.exceptions.RayError as error:
        raise TrainingError(f"timing of {copies} trials at the same time failed: {last_line(str(error))}") from error
    finally:
        for actor in actors:
            ray.kill(actor)
    return ready_seconds, max(1.0, sum(beside) / copies / alone)


class _ConcurrentTimer:
    """One of several processes that time the same steps at the same time, as trials of a sweep do."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.number = number
        self.scale = sorted(settings["assistant_scales"])[len(settings["assistant_scales"]) // 2]
        prepared = _prepared(settings)
        has_gpu = prepared.config.compute.gpus_per_worker > 0
        workers = Workers(device=torch.device("cuda" if has_gpu else "cpu"))
        self.timer = StageTimer(prepared, workers, None, settings["budget_seconds"])

    def is_ready(self) -> bool:
        return True

    def begin(self) -> None:
        self.timer.begin()

    def token_seconds(self, name: str) -> float:
        """Seconds of a step for each padded token."""
        counted = self.timer.distil(self.scale, f"{name}-{self.number}").counted
        return sum(seconds for _, seconds in counted) / sum(rows * length for (rows, length), _ in counted)


def _prepared(settings: Mapping[str, Any]) -> PreparedRun:
    prepared: PreparedRun = ray.get(settings["run"])
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    return prepared
