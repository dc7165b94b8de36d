"""A Tune actor that runs one trial after another, and counts what it holds from its first moment to its last."""

import time
from dataclasses import asdict
from typing import Any

import torch
from ray import tune
from ray.tune.trainable import wrap_function

from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Failure
from minidisc_ray.ray_backend.supervision.holding import Hold, granted_at
from minidisc_ray.ray_backend.supervision.leaving import expect_nothing, expect_work, leave, stop_on_sigterm
from minidisc_ray.ray_backend.trainer import fit_trial
from minidisc_ray.ray_backend.worker import work
from minidisc_ray.training.notice import Preempted
from minidisc_ray.training.workers import Workers

_STARTED_AT = time.time()
# What the driver prepared, by name, and what this process holds: an actor is a process.
_runs: dict[str, PreparedRun] = {}
_hold: Hold | None = None


def _one_process(config: dict[str, Any]) -> None:
    run = _runs[config["run"]]
    workers = Workers(device=torch.device("cuda" if run.config.compute.gpus_per_worker > 0 else "cpu"))
    try:
        failure = work(
            run, config["trial"], config["with_shared"], workers, lambda metrics, _: tune.report(dict(metrics))
        )
    except Preempted:
        _close_hold("interrupted")
        leave()
    finally:
        expect_nothing()
        # An actor of a long study would keep the rows of every run that it has worked on.
        run.encoded.clear()
    finish(failure)


def trial_with_workers(config: dict[str, Any], runs: dict[str, PreparedRun]) -> None:
    """One trial on workers of its own: a Ray Train job inside a Tune trial."""
    run = runs[config["run"]]
    run.wait_for_storage()
    finish(fit_trial(run, config["trial"], config["with_shared"]))


def finish(failure: Failure | None) -> None:
    """Report how a trial ended; Tune keeps the last report, and a trial's own metrics lie in its stages' records."""
    ended = {"finished": True} if failure is None else {"finished": False, **asdict(failure)}
    tune.report(ended)


_Function: Any = wrap_function(_one_process)


class TrialActor(_Function):
    """Ray's own function actor, with SIGTERM heeded and a hold for each trial: the gaps between them are held too."""

    def setup(self, config: dict[str, Any], runs: dict[str, PreparedRun]) -> None:
        """The first trial; held since the placement group was granted.

        Args:
            config: the trial's, as the queue hands it out.
            runs: what the driver prepared, by name.
        """
        stop_on_sigterm()
        _runs.update(runs)
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
    compute = _runs[config["run"]].config.compute
    if compute.num_workers == 1:
        expect_work(compute.stall_seconds)


def _open_hold(config: dict[str, Any], since: float) -> None:
    global _hold
    run = _runs[config["run"]]
    compute = run.config.compute
    # Before the first line: a process that dies of an outage leaves what it held in no ledger.
    run.wait_for_storage()
    has_gpu = compute.gpus_per_worker > 0
    devices = compute.gpus_per_worker if has_gpu else compute.cpus_per_worker
    _hold = Hold(run.ledger, "tune-trial", config["trial"], devices, "gpu" if has_gpu else "cpu-core", since)


def _close_hold(status: str) -> None:
    global _hold
    if _hold is not None:
        hold, _hold = _hold, None
        hold.close(status)
