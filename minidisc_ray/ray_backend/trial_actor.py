"""Tune actors of trials: one executes its trial and records what it holds, the other waits for the trial's workers."""

import time
from dataclasses import asdict
from typing import Any

import torch
from ray import tune
from ray.tune.trainable import wrap_function

from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Failure
from minidisc_ray.ray_backend.supervision.holding import Hold, granted_at
from minidisc_ray.ray_backend.supervision.leaving import (
    cancel_stall_timer,
    exit_preempted,
    start_stall_timer,
    stop_on_sigterm,
)
from minidisc_ray.ray_backend.supervision.naming import actor_name
from minidisc_ray.ray_backend.trainer import fit_trial
from minidisc_ray.ray_backend.worker import execute_trial
from minidisc_ray.training.notice import Preempted
from minidisc_ray.training.workers import Workers

_STARTED_AT = time.time()
# The driver's prepared runs by name, and the open hold; an actor has its process to itself.
_runs: dict[str, PreparedRun] = {}
_hold: Hold | None = None


def _one_process(config: dict[str, Any]) -> None:
    run = _runs[config["run"]]
    workers = Workers(device=torch.device("cuda" if run.config.compute.gpus_per_worker > 0 else "cpu"))
    try:
        failure = execute_trial(
            run, config["trial"], config["with_shared"], workers, lambda metrics, _: tune.report(dict(metrics))
        )
    except Preempted:
        _close_hold("interrupted")
        exit_preempted()
    finally:
        cancel_stall_timer()
        # In a long study, an actor would keep the encoded rows of every run that it executed.
        run.encoded.clear()
    report_end(failure)


def _with_workers(config: dict[str, Any]) -> None:
    run = _runs[config["run"]]
    run.wait_for_storage()
    report_end(fit_trial(run, config["trial"], config["with_shared"]))


def report_end(failure: Failure | None) -> None:
    """Report how a trial ended: Tune keeps the last report. The trial's metrics are in the records of its stages."""
    ended = {"finished": True} if failure is None else {"finished": False, **asdict(failure)}
    tune.report(ended)


_OneProcess: Any = wrap_function(_one_process)
_WithWorkers: Any = wrap_function(_with_workers)


class TrialWithWorkers(_WithWorkers):
    """Executes one trial on workers of its own: a Ray Train job inside a Tune trial."""

    def setup(self, config: dict[str, Any], runs: dict[str, PreparedRun]) -> None:
        """Keep the driver's prepared runs, by name."""
        _runs.update(runs)
        super().setup(config)

    def __repr__(self) -> str:
        return _name_of(self)


class TrialActor(_OneProcess):
    """Ray's function actor, with a SIGTERM handler and a hold for each trial, which lasts until the next trial's."""

    def setup(self, config: dict[str, Any], runs: dict[str, PreparedRun]) -> None:
        """Prepare for the first trial; its hold begins when the placement group was granted.

        Args:
            config: of the trial, as the searcher suggested it.
            runs: the driver's prepared runs, by name.
        """
        stop_on_sigterm()
        _runs.update(runs)
        _expect_work(config)
        _open_hold(config, granted_at() or _STARTED_AT)
        super().setup(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare for the next trial in the same process."""
        is_reset = bool(super().reset_config(new_config))
        if is_reset:
            _expect_work(new_config)
            _close_hold("finished")
            _open_hold(new_config, time.time())
        return is_reset

    def __repr__(self) -> str:
        return _name_of(self)

    def cleanup(self) -> None:
        """Close the hold: the actor releases its resources."""
        try:
            super().cleanup()
        finally:
            _close_hold("finished")


def _name_of(actor: Any) -> str:
    config: dict[str, Any] = actor.config
    # Ray reads the name once, when the actor starts.
    later = " and later trials" if config["shares_actor"] else ""
    return f"{actor_name(config['run'], config['trial'])}{later}"


def _expect_work(config: dict[str, Any]) -> None:
    compute = _runs[config["run"]].config.compute
    if compute.num_workers == 1:
        start_stall_timer(compute.stall_seconds)


def _open_hold(config: dict[str, Any], since: float) -> None:
    global _hold
    run = _runs[config["run"]]
    compute = run.config.compute
    # Before the hold's first line: should the process die in an outage, the ledger would not have it.
    run.wait_for_storage()
    has_gpu = compute.gpus_per_worker > 0
    devices = compute.gpus_per_worker if has_gpu else compute.cpus_per_worker
    _hold = Hold(run.ledger, "tune-trial", config["trial"], devices, "gpu" if has_gpu else "cpu-core", since)


def _close_hold(status: str) -> None:
    global _hold
    if _hold is not None:
        hold, _hold = _hold, None
        hold.close(status)
