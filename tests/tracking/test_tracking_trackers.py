"""MLflow as an option: a real store in a folder; what goes there, what never does, and what a broken one does."""

import importlib.util
import logging
import sys

import pytest
from pipeline_kit import prepared_run

from minidisc_ray import api
from minidisc_ray.configs import UserError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.history import read_history
from minidisc_ray.run_files.result import load_result
from minidisc_ray.tracking.trackers import track_result

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:mlflow", "ignore::DeprecationWarning:mlflow")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A finished run that was sent to a store in a folder, and a client of that store."""
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    root = tmp_path_factory.mktemp("tracked")
    uri = (root / "mlruns").as_uri()
    overrides = ("distil.num_epochs=2", "compute.price_per_device_hour=2", f"track={{kind: mlflow, uri: '{uri}'}}")
    prepared = prepared_run(root / "runs", "minidisc", overrides)
    result = run_in_process(prepared)
    import mlflow  # after the run, which says what MLflow may send

    return prepared, result, mlflow.MlflowClient(tracking_uri=uri)


def runs_of(client):
    experiment = client.get_experiment_by_name("minidisc")
    return client.search_runs([experiment.experiment_id])


def test_params_costs_and_scores_are_there(tracked):
    prepared, result, client = tracked
    (run,) = runs_of(client)
    assert (run.info.run_name, run.info.status) == (prepared.name, "FINISHED")
    assert run.data.params["schedule.kind"] == "minidisc"
    assert run.data.params["distil.num_epochs"] == "2"
    metrics = run.data.metrics
    assert metrics["student/validation/accuracy"] == result.student.validation_metrics["accuracy"]
    assert metrics["cost/device_hours/useful"] == result.cost.useful_device_hours
    assert metrics["cost/device_hours/lost"] == 0
    assert metrics["cost/device_hours/idle"] == result.cost.startup_device_hours
    assert metrics["cost/price"] == result.cost.price
    assert metrics["cost/main/sandwich/useful"] > 0


def test_every_epoch_of_every_stage_is_a_step(tracked):
    prepared, _, client = tracked
    (run,) = runs_of(client)
    history = client.get_metric_history(run.info.run_id, "main/student/selection/accuracy/scale_010")
    notes = [note for note in read_history(prepared.run_folder) if note.stage == "student"]
    assert [(one.step, one.value) for one in history] == [
        (note.step, note.epoch.metrics[10]["accuracy"]) for note in notes
    ]
    assert [note.step for note in notes] == [8, 16]
    assert "main/teacher/selection_score" in run.data.metrics
    assert "main/sandwich/selection/accuracy/scale_060" in run.data.metrics


def test_the_result_is_an_artifact(tracked, tmp_path):
    _, result, client = tracked
    (run,) = runs_of(client)
    client.download_artifacts(run.info.run_id, "result.json", str(tmp_path))
    assert load_result(tmp_path) == result


def test_a_run_given_twice_is_one_run(tracked):
    prepared, result, client = tracked
    track_result(prepared, result)
    assert len(runs_of(client)) == 1


def test_a_run_that_the_caller_logs_stays_apart(tracked, tmp_path):
    prepared, result, client = tracked
    import mlflow

    mlflow.set_tracking_uri((own := tmp_path / "own").as_uri())
    try:
        with mlflow.start_run(run_name="the caller's"):
            track_result(prepared, result)
            mlflow.log_metric("own", 1.0)
        (theirs,) = mlflow.search_runs(output_format="list")
        assert mlflow.get_tracking_uri() == own.as_uri()
    finally:
        mlflow.set_tracking_uri(None)
    assert (theirs.info.run_name, theirs.data.metrics, theirs.data.params) == ("the caller's", {"own": 1.0}, {})
    (run,) = runs_of(client)
    assert (run.info.run_name, run.info.status) == (prepared.name, "FINISHED")
    assert "mlflow.parentRunId" not in run.data.tags
    assert run.info.start_time == min(int(1000 * note.at) for note in read_history(prepared.run_folder))


def test_a_store_that_is_away_costs_a_line_without_its_password(tracked, caplog, monkeypatch):
    prepared, result, _ = tracked
    monkeypatch.setattr(logging.getLogger("minidisc_ray"), "propagate", True)
    secret = "hunter2hunter2"
    track = type(prepared.config.track)(uri=f"nosuchscheme://ann:{secret}@host/runs")
    broken = type(prepared)(
        **{name: getattr(prepared, name) for name in prepared.__dataclass_fields__}
        | {"config": prepared.config.model_copy(update={"track": track})}
    )
    with caplog.at_level(logging.WARNING, "minidisc_ray"):
        track_result(broken, result)
    assert "MLflow did not get the run" in caplog.text
    assert secret not in caplog.text


def test_without_the_package_a_recipe_that_asks_for_it_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    config = prepared_run(tmp_path, "conventional", ("track.kind=mlflow",)).config
    with pytest.raises(UserError, match=r"track\.kind: mlflow needs the mlflow package.* install minidisc"):
        api.plan(config)
