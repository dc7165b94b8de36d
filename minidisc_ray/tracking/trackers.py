"""Sends a finished run to MLflow, an optional extra: parameters, metrics by epoch, costs, and the result.

Only the driver connects to MLflow, so workers need neither its address nor its password. An error there is one line in
the log and never fails the run.
"""

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

from minidisc_ray.configs.tracking import MLflowTrackingConfig, without_password
from minidisc_ray.files.writing import read_json
from minidisc_ray.log import logger
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.history import EpochNote, read_history
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.run_files.result_costs import CostRecord
from minidisc_ray.tracking.mlflow import import_mlflow

_FILE = "mlflow.json"


def track_result(prepared: PreparedRun, result: RunResult) -> None:
    """Send a finished run to MLflow if the recipe asks for it; sending a run again replaces the earlier one.

    Args:
        prepared: the checked recipe; its run folder has the epochs' metrics.
        result: the run's result.
    """
    track = prepared.config.track
    if not isinstance(track, MLflowTrackingConfig):
        return
    try:
        _send_run(track, prepared, result)
    except Exception as error:  # noqa: BLE001 - MLflow's stores raise errors of any type, and none may end a run
        reason = " ".join(str(error).split())[:300]
        if track.uri is not None:
            reason = reason.replace(track.uri, without_password(track.uri))
        logger.warning("[%s] MLflow did not get the run: %s", prepared.name, without_password(reason))


def _send_run(track: MLflowTrackingConfig, prepared: PreparedRun, result: RunResult) -> None:
    mlflow = import_mlflow()
    # set_tracking_uri overwrites this variable.
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(track.uri or before)
    try:
        experiment = mlflow.get_experiment_by_name(track.experiment)
        experiment_id = mlflow.create_experiment(track.experiment) if experiment is None else experiment.experiment_id
        _delete_earlier(mlflow, prepared)
        _log_run(mlflow, experiment_id, prepared, result)
    finally:
        # The caller may log other runs to MLflow, to its own store.
        mlflow.set_tracking_uri(before)


def _log_run(mlflow: Any, experiment_id: str, prepared: PreparedRun, result: RunResult) -> None:
    """Log a run to MLflow; every call passes its run id, so that runs ending at the same time are not mixed up."""
    history = read_history(prepared.run_folder)
    times = [int(1000 * note.at) for note in history]
    client = mlflow.MlflowClient()
    run_id = client.create_run(
        experiment_id,
        start_time=min(times, default=None),
        tags={"minidisc.method": result.label, "minidisc.data_digest": result.data_digest},
        run_name=prepared.name,
    ).info.run_id
    prepared.storage.write_json(prepared.run_folder / _FILE, {"run_id": run_id, "experiment_id": experiment_id})
    mlflow.log_params(dict(_flat(prepared.config.model_dump(mode="json"))), run_id=run_id)
    for note, time in zip(history, times, strict=True):
        mlflow.log_metrics(_finite(_epoch_metrics(note)), step=note.step, timestamp=time, run_id=run_id)
    mlflow.log_metrics(_finite(result_metrics(result)), step=0, timestamp=max(times, default=0), run_id=run_id)
    mlflow.log_text(result.model_dump_json(indent=2), "result.json", run_id=run_id)
    client.set_terminated(run_id)


def _delete_earlier(mlflow: Any, prepared: PreparedRun) -> None:
    """Delete the MLflow run that this run folder logged before; others with the same name stay."""
    known = read_json(prepared.run_folder / _FILE)
    if not isinstance(known, dict) or not {"run_id", "experiment_id"} <= known.keys():
        return
    query = f"attributes.run_id = '{known['run_id']}'"
    found = mlflow.search_runs([str(known["experiment_id"])], query, output_format="list")
    if any(one.info.run_name == prepared.name for one in found):
        mlflow.delete_run(str(known["run_id"]))


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def result_metrics(result: RunResult) -> dict[str, float]:
    """A result's metrics, sizes and costs, by the names that MLflow shows."""
    found = {f"student/validation/{_name(name)}": value for name, value in result.student.validation_metrics.items()}
    found |= {f"student/selection/{_name(name)}": value for name, value in result.student.selection_metrics.items()}
    found |= {f"teacher/validation/{_name(name)}": value for name, value in result.teacher.validation_metrics.items()}
    found["student/encoder_parameters"] = float(result.student.encoder_parameters)
    found["student/total_parameters"] = float(result.student.total_parameters)
    return found | _cost_metrics(result.cost)


def _cost_metrics(cost: CostRecord) -> dict[str, float]:
    found: dict[str, float | None] = {
        "cost/device_hours/useful": cost.useful_device_hours,
        "cost/device_hours/lost": cost.lost_device_hours,
        "cost/device_hours/idle": cost.idle_device_hours,
        "cost/device_hours/teacher": cost.teacher_device_hours,
        "cost/training_flops": cost.training_flops,
        "cost/evaluation_flops": cost.evaluation_flops,
        "cost/attempts": float(len(cost.attempts)),
        "cost/price": cost.price,
        "cost/energy_joules": cost.energy_joules,
    }
    for stage in cost.stages:
        where = f"cost/{_name(stage.trial)}/{_name(stage.stage)}"
        found[f"{where}/useful"] = stage.useful_device_hours
        found[f"{where}/lost"] = stage.lost_device_hours
        found[f"{where}/idle"] = stage.idle_device_hours
    return {name: value for name, value in found.items() if value is not None}


def _epoch_metrics(note: EpochNote) -> dict[str, float]:
    where = f"{_name(note.trial)}/{_name(note.stage)}"
    found = {f"{where}/loss/{_name(name)}": value for name, value in note.epoch.losses.items()}
    for scale, metrics in note.epoch.metrics.items():
        found |= {f"{where}/selection/{_name(name)}/scale_{scale:03d}": value for name, value in metrics.items()}
    return {**found, f"{where}/selection_score": note.epoch.selection_score}


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value


def _name(text: str) -> str:
    """A part of a metric's name: MLflow allows only letters, digits, dots, dashes, underscores, spaces and slashes."""
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in text)
