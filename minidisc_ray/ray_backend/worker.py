"""What runs on a worker: steps of a plan, whoever started the process."""

import functools
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.data import Splits, load_splits
from minidisc_ray.files.mirroring import is_mirrored
from minidisc_ray.files.writing import write_json
from minidisc_ray.pipeline.context import Context, Report
from minidisc_ray.pipeline.trial import run_shared, run_trial
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.retries import error_sentence, is_worth_a_retry
from minidisc_ray.ray_backend.supervision.holding import node_id
from minidisc_ray.ray_backend.supervision.leaving import at_work
from minidisc_ray.ray_backend.supervision.stalls import note_place
from minidisc_ray.run_files.mirrored import fetch_for_trial, set_storage_timeout, storage_root
from minidisc_ray.schedules.plan import Trial
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.workers import Workers


def settings_of(prepared: PreparedRun, trial: str, with_shared: bool) -> dict[str, Any]:
    """What a worker has to be told, as plain JSON."""
    # Ray writes it down with the trial. Only the driver asks for the cluster's address, which may hold a password.
    config = prepared.config.model_dump(mode="json", exclude={"compute": {"address"}})
    return {"config": config, "trial": trial, "with_shared": with_shared}


@dataclass(frozen=True)
class Failure:
    """Why a trial failed, where no retry can mend it.

    Attributes:
        sentence: in one line.
        is_users: whether the recipe, its data or its models are to blame.
    """

    sentence: str
    is_users: bool = False


def work(settings: Mapping[str, Any], workers: Workers, report: Report | None) -> Failure | None:
    """Execute one trial's steps on this worker; returns a failure that no retry can mend.

    Raises:
        Exception: whatever a retry may mend; and of several workers whatever one of them meets alone, since the others
            would wait for it.
    """
    _log_to_stderr()
    config = resolve(settings["config"])
    set_storage_timeout(config.storage, config.compute.storage_patience_seconds)
    prepared = prepare(config, _splits_of(_rows_key(config)))
    torch.set_num_threads(prepared.config.compute.cpus_per_worker)
    name = settings["trial"]
    artifacts = (prepared.teacher_folder, prepared.importance_folder)
    fetch_for_trial(prepared.run_folder, name, artifacts)
    trial = prepared.plan.trial(name) or Trial(name, ())
    shared = prepared.plan.shared if settings["with_shared"] else ()
    num_stages = len(shared) + len(trial.steps)
    context = Context(prepared, workers, name, num_stages, report, node=node_id())
    if workers.is_first:
        note_place(prepared.run_folder, name)
    progress_file = prepared.run_folder / "progress" / f"{name}.json"
    try:
        with at_work(progress_file, prepared.config.compute.stall_seconds):
            run_shared(context, shared)
            run_trial(context, trial)
    except (UserError, TrainingError) as error:
        return Failure(str(error), isinstance(error, UserError))
    except Exception as error:
        if workers.size > 1 or is_worth_a_retry(error):
            raise
        logging.getLogger("minidisc_ray").exception("[%s] stopped by an error in the code", name)
        return Failure(error_sentence(error))
    context.progress((trial.steps or shared)[-1].name, "finished")
    return None


def _rows_key(config: RunConfig) -> str:
    return config.model_dump_json(include={"task", "data", "protocol"})


@functools.lru_cache(maxsize=2)
def _splits_of(rows_key: str) -> Splits:
    """An actor that is used for one trial after another reads a data set once."""
    return load_splits(resolve(json.loads(rows_key)))


def train_worker(settings: dict[str, Any]) -> Failure | None:
    """The training function of a ``TorchTrainer``."""
    # Ray would keep its pointer to a checkpoint on the driver's node, where no other one can write.
    has_pointers = not is_mirrored(storage_root(settings["config"]["storage"]))
    place = ray.train.get_context()
    workers = Workers(place.get_world_rank(), place.get_world_size(), ray.train.torch.get_device())
    return work(settings, workers, _report_to_train if workers.is_first and has_pointers else _report_metrics)


def _report_to_train(metrics: dict[str, float], checkpoint: Path) -> None:
    """Report to Ray Train with a checkpoint that points to ours, which lies on the same storage already."""

    def leave_pointer(_: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
        # Ray's own copying takes a storage that is full for a moment for a failure of the worker.
        folder = Path(ray.train.get_context().get_storage().experiment_fs_path) / name
        write_json(folder / "pointer.json", {"checkpoint": str(checkpoint)})
        return ray.train.Checkpoint.from_directory(folder)

    ray.train.report(
        metrics,
        checkpoint=ray.train.Checkpoint.from_directory(checkpoint),
        checkpoint_upload_fn=leave_pointer,
        delete_local_checkpoint_after_upload=False,
    )


def _report_metrics(metrics: dict[str, float], checkpoint: Path) -> None:  # noqa: ARG001
    ray.train.report(metrics)


def _log_to_stderr() -> None:
    """The dashboard and ``ray logs`` show a worker's stderr; the trial's name is in every line."""
    logger = logging.getLogger("minidisc_ray")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
