"""MaxiDisc as a Ray Tune experiment: one trial for each assistant scale, as many at once as fit."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.pipeline.assemble import is_trial_finished
from minidisc_ray.pipeline.files import write_json
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.ray_backend.trainer import fit_trial, last_line
from minidisc_ray.ray_backend.worker import settings_of, work
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.workers import Workers

# A trial that only waits for its own workers holds a byte: nothing is refused by Tune, and the smallest share of a CPU
# would keep workers that need every CPU of a cluster from ever starting.
_WAITING = {"memory": 1.0}


def fit_sweep(prepared: Prepared, at_once: int) -> None:
    """Run every unfinished trial; one that fails leaves its reason and does not end the others.

    Args:
        prepared: the checked recipe, its shared steps finished.
        at_once: trials that the cluster holds beside each other.
    """
    compute = prepared.config.compute
    names = [trial.name for trial in prepared.plan.trials if not is_trial_finished(prepared, trial)]
    if not names:
        return
    run_folder = str(prepared.run_folder)
    if compute.num_workers == 1:
        trainable: Any = partial(_trial_in_actor, prepared_settings=settings_of(prepared, "", with_shared=False))
        resources = {"CPU": float(compute.cpus_per_worker), "GPU": compute.gpus_per_worker}
    else:
        trainable = partial(_trial_with_workers, prepared_settings=settings_of(prepared, "", with_shared=False))
        resources = _WAITING
    trainable.__name__ = "minidisc_trial"
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"trial": tune.grid_search(names), "run_folder": run_folder},
        tune_config=tune.TuneConfig(
            # No metric for Tune to miss, no scheduler to drop scales: the exhaustive baseline is exhaustive.
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=_experiment_name(prepared.run_folder / "ray"),
            storage_path=str(prepared.run_folder / "ray"),
            failure_config=tune.FailureConfig(max_failures=compute.max_failures),
            verbose=0,
        ),
    )
    for index, outcome in enumerate(tuner.fit()):
        if outcome.error is not None:
            _leave_reason(Path(run_folder), names[index], last_line(outcome.error))


def _trial_in_actor(config: dict[str, Any], prepared_settings: dict[str, Any]) -> None:
    """One trial inside its reused Tune actor."""
    name, folder = config["trial"], Path(config["run_folder"])
    compute = prepared_settings["config"]["compute"]
    has_gpu = compute["gpus_per_worker"] > 0
    devices = compute["gpus_per_worker"] if has_gpu else compute["cpus_per_worker"]
    workers = Workers(device=torch.device("cuda" if has_gpu else "cpu"))
    ledger = Ledger(folder / "ledger.jsonl")
    with ledger.attempt("hold", "tune-trial", name, devices, "gpu" if has_gpu else "cpu-core"):
        failure = work({**prepared_settings, "trial": name}, workers, _report_to_tune)
    _finish(folder, name, failure)


def _trial_with_workers(config: dict[str, Any], prepared_settings: dict[str, Any]) -> None:
    """One trial on workers of its own: a Ray Train job inside a Tune trial."""
    from minidisc_ray.configs.loader import resolve
    from minidisc_ray.pipeline.prepare import prepare

    name, folder = config["trial"], Path(config["run_folder"])
    failure: str | None = None
    try:
        fit_trial(prepare(resolve(prepared_settings["config"])), name, with_shared=False)
    except TrainingError as error:
        failure = str(error)
    _finish(folder, name, failure)


def _finish(folder: Path, name: str, failure: str | None) -> None:
    if failure is not None:
        _leave_reason(folder, name, failure)
    # Tune keeps the last report; a sweep's own metrics are read from the trials' records.
    tune.report({"finished": failure is None})


def _report_to_tune(metrics: dict[str, float], checkpoint: Path) -> None:  # noqa: ARG001
    tune.report(dict(metrics))


def _leave_reason(folder: Path, name: str, reason: str) -> None:
    write_json(folder / "trials" / name / "failure.json", {"reason": reason})


def _trial_name(trial: TuneTrial) -> str:
    return str(trial.config["trial"])


def _experiment_name(storage: Path) -> str:
    number = 1
    while (storage / f"sweep-{number:03d}").exists():
        number += 1
    return f"sweep-{number:03d}"
