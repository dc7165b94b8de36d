"""A Tune actor that runs one trial after another, and counts what it holds from its first moment to its last."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.trainable import wrap_function

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.files.mirroring import local_path
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.ray_backend.supervision.holding import Hold, granted_at
from minidisc_ray.ray_backend.supervision.leaving import expect_nothing, expect_work, leave, stop_on_sigterm
from minidisc_ray.ray_backend.trainer import fit_trial
from minidisc_ray.ray_backend.worker import work
from minidisc_ray.run_files.mirrored import set_storage_timeout
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.notice import Preempted
from minidisc_ray.training.workers import Workers

_STARTED_AT = time.time()
_hold: Hold | None = None


def _one_process(config: dict[str, Any]) -> None:
    settings = json.loads(config["settings"])
    workers = Workers(device=torch.device("cuda" if settings["config"]["compute"]["gpus_per_worker"] > 0 else "cpu"))
    try:
        failure = work(settings, workers, _report_to_tune)
    except Preempted:
        _close_hold("interrupted")
        leave()
    finally:
        expect_nothing()
    finish(None if failure is None else failure.sentence)


def trial_with_workers(config: dict[str, Any]) -> None:
    """One trial on workers of its own: a Ray Train job inside a Tune trial, which retries by itself."""
    settings = json.loads(config["settings"])
    failure: str | None = None
    try:
        resolved = resolve(settings["config"])
        set_storage_timeout(resolved.storage, resolved.compute.storage_patience_seconds)
        fit_trial(prepare(resolved), settings["trial"], settings["with_shared"])
    except (TrainingError, UserError) as error:
        failure = str(error)
    finish(failure)


def finish(failure: str | None) -> None:
    """Say how a trial ended; Tune keeps the last report, and a trial's own metrics lie in its stages' records."""
    tune.report({"finished": failure is None, "failure": failure or ""})


def _report_to_tune(metrics: dict[str, float], checkpoint: Path) -> None:  # noqa: ARG001
    tune.report(dict(metrics))


_Function: Any = wrap_function(_one_process)


class TrialActor(_Function):
    """Ray's own function actor, with SIGTERM heeded and a hold for each trial: the gaps between them are held too."""

    def setup(self, config: dict[str, Any]) -> None:
        """The first trial; held since the placement group was granted."""
        stop_on_sigterm()
        _expect_work(config)
        _open_hold(config, granted_at() or _STARTED_AT)
        super().setup(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process."""
        is_reset = bool(super().reset_config(new_config))
        if is_reset:
            _expect_work(new_config)
            _close_hold("finished")
            _open_hold(new_config, time.time())
        return is_reset

    def cleanup(self) -> None:
        """Resources are given back."""
        try:
            super().cleanup()
        finally:
            _close_hold("finished")


def _expect_work(config: dict[str, Any]) -> None:
    compute = json.loads(config["settings"])["config"]["compute"]
    if compute["num_workers"] == 1:
        expect_work(compute["stall_seconds"])


def _open_hold(config: dict[str, Any], since: float) -> None:
    global _hold
    settings = json.loads(config["settings"])
    compute = settings["config"]["compute"]
    # Before the first line: a process that dies of an outage leaves what it held in no ledger.
    set_storage_timeout(settings["config"]["storage"], compute["storage_patience_seconds"])
    has_gpu = compute["gpus_per_worker"] > 0
    devices = compute["gpus_per_worker"] if has_gpu else compute["cpus_per_worker"]
    ledger = local_path(config["run_folder"]) / "ledger.jsonl"
    _hold = Hold(ledger, "tune-trial", settings["trial"], devices, "gpu" if has_gpu else "cpu-core", since)


def _close_hold(status: str) -> None:
    global _hold
    if _hold is not None:
        hold, _hold = _hold, None
        hold.close(status)
