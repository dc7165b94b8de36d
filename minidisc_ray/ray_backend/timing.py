"""A few real steps timed where a run would take them: on workers of the cluster that the recipe names."""

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
    """Time a few real steps on the recipe's cluster, or on a local Ray, and predict whole runs; keeps no file.

    Args:
        prepared: the checked recipe.
        budget_seconds: about how long the steps may take, Ray's start not counted.

    Raises:
        UserError: if no node can hold the plan.
        TrainingError: if a step failed.
        KeyboardInterrupt: after Ctrl-C.
    """
    load = load_average()
    found = alternatives(prepared)
    results: list[tuple[Timings, Overheads]] = []
    # The folder goes last: workers that were stopped would fill it again.
    with temporary_storage(prepared) as storage:
        begun_at = time.perf_counter()
        with cluster(prepared.config.compute.address) as nodes:
            begun_seconds = time.perf_counter() - begun_at
            at_once = trials_at_once(nodes, prepared.config.compute)
            with in_thread(lambda: results.append(_measure(found, storage, at_once, budget_seconds))) as is_running:
                while is_running():
                    pass
            done_at = time.perf_counter()
        cluster_seconds = begun_seconds + time.perf_counter() - done_at
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
    sweep_seconds, slowdown = _beside_each_other(here, settings, copies)
    return timings, overheads.model_copy(update={"sweep_seconds": sweep_seconds, "slowdown": slowdown})


def _fit(prepared: PreparedRun, settings: Settings, folder: Path) -> dict[str, Any]:
    """Time the stages in a Train job like any trial's; what it held goes to the ledger."""
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
    """The training function of the Train job; what the first worker returns counts."""
    place = ray.train.get_context()
    workers = Workers(place.get_world_rank(), place.get_world_size(), ray.train.torch.get_device())
    begun_at = time.perf_counter()
    prepared = _prepared(settings)
    prepare_seconds = time.perf_counter() - begun_at
    try:
        report = report_to_train(prepared.storage) if workers.is_first else report_metrics
        timer = StageTimer(prepared, workers, report, settings["budget_seconds"])
        timings = timer.time(settings["assistant_scales"])
    except (UserError, TrainingError) as error:
        return {"failure": str(error)}
    seconds = time.perf_counter() - begun_at
    return {"timings": timings.model_dump(mode="json"), "prepare_seconds": prepare_seconds, "seconds": seconds}


def _beside_each_other(prepared: PreparedRun, settings: Settings, copies: int) -> tuple[float, float]:
    """Seconds until a sweep's workers are up, and how many times longer a stage takes with all of them at work."""
    compute = prepared.config.compute
    worker = ray.remote(num_cpus=compute.cpus_per_worker, num_gpus=compute.gpus_per_worker, max_restarts=0)(_Copy)
    started_at = time.perf_counter()
    actors = [worker.remote(settings, number) for number in range(copies)]
    try:
        ray.get([actor.is_ready.remote() for actor in actors])
        ready_seconds = time.perf_counter() - started_at
        ray.get([actor.begin.remote() for actor in actors])
        alone = float(ray.get(actors[0].token_seconds.remote("alone")))
        beside = [float(found) for found in ray.get([actor.token_seconds.remote("beside") for actor in actors])]
    except ray.exceptions.RayError as error:
        raise TrainingError(f"timing of {copies} trials beside each other failed: {last_line(str(error))}") from error
    finally:
        for actor in actors:
            ray.kill(actor)
    return ready_seconds, max(1.0, sum(beside) / copies / alone)


class _Copy:
    """One of several processes that take the same steps at once, as trials of a sweep do."""

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
