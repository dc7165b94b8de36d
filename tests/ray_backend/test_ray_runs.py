import json
import sys

import pytest
from ray_kit import RAY, WATCHED_SANDWICH, ActorNames, attempts_of, numbers, prepared_run, run_on_ray, student_weights

from minidisc_ray.configs import UserError
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, local_ray, in_one_process):
    """A MiniDisc run on Ray, the same one in this process, and what was watched."""
    seen, progress = [], []
    on_ray = prepared_run(tmp_path_factory.mktemp("runs"), "minidisc", WATCHED_SANDWICH)
    names = ActorNames(on_ray)

    def watch(found):
        names(found)
        progress.append(found)
        seen.append([(t.trial, t.stage, t.status) for t in found])

    result = run_on_ray(on_ray, watch)
    return on_ray, result, *in_one_process, seen, progress, names.found


def test_a_run_gives_the_numbers_of_one_process(finished):
    on_ray, result, here, reference, *_ = finished
    assert numbers(result) == numbers(reference)
    assert student_weights(on_ray) == student_weights(here)
    assert load_result(on_ray.run_folder) == result
    for run in (result, reference):
        assert run.student_step_seconds > 0
        assert (run.student_step_memory_bytes is None) == (sys.platform != "linux")


def test_held_seconds_cover_the_stages_and_start_up_stands_apart(finished):
    on_ray, result, *_ = finished
    (hold,) = attempts_of(on_ray, "hold")
    stages = attempts_of(on_ray, "stage")
    assert (hold.name, hold.trial, hold.status, hold.devices) == ("tune-trial", "main", "finished", 1.0)
    assert {stage.name for stage in stages} == {"teacher", "importance", "sandwich", "choose", "student"}
    assert {stage.status for stage in stages} == {"finished"}
    worked = sum(stage.seconds for stage in stages)
    assert hold.seconds > worked > 0
    assert hold.started_at <= min(stage.started_at for stage in stages)
    assert hold.started_at + hold.seconds >= max(stage.started_at + stage.seconds for stage in stages)
    assert result.cost.startup_device_hours == pytest.approx((hold.seconds - worked) / 3600, rel=1e-2)
    charged = sum(stage.seconds for stage in stages if stage.name != "teacher")
    assert result.cost.device_hours == pytest.approx(charged / 3600, rel=1e-2), "start-up is in no ratio"
    assert result.devices == "1 x cpu-core"


def test_tune_got_metrics_under_the_runs_name(finished):
    run = finished[0]
    trial = run.run_folder / "ray" / "tune-001" / run.name
    reports = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
    assert {"accuracy", "selection_score", "epoch"} <= set().union(*reports)
    assert reports[-1]["finished"] is True


def test_progress_and_tensorboard_are_left_and_the_driver_watched(finished):
    folder, seen = finished[0].run_folder, finished[4]
    assert [(p.trial, p.status, p.stage_index, p.num_stages) for p in read_progress(folder)] == [
        ("main", "finished", 5, 5)
    ]
    for stage in ("sandwich", "student"):
        assert list((folder / "tensorboard" / "main" / stage).glob("events.out.tfevents.*"))
    assert {trial for look in seen for trial, _, _ in look} == {"main"}
    assert "running" in {status for look in seen for _, _, status in look}
    assert seen[-1] == [("main", "student", "finished")]


def test_the_actor_has_the_name_of_run_and_trial(finished):
    assert finished[6] == [f"{finished[0].name}/main"]


def test_the_watch_knows_what_is_waited_for_and_what_is_left(finished):
    progress = finished[5]
    first = next(found.waiting for found in progress if found.waiting)
    assert first.startswith("main: waiting for a worker; it")
    assert not progress[-1].waiting
    assert (progress[0].num_finished, progress[0].num_left) == (0, 1)
    assert (progress[-1].num_finished, progress[-1].num_left, progress[-1].seconds_left) == (1, 0, None)
    trials = [trial for found in progress for trial in found]
    assert any(trial.loss is not None and 0 < trial.loss < 20 for trial in trials)
    (chosen,) = [event for event in trials[-1].events if event.startswith("choose: assistant chosen: ")]
    assert f"{finished[1].assistants[0].scale_percent}%" in chosen


def test_a_finished_run_returns_at_once(finished):
    on_ray, result, *_ = finished
    before = (on_ray.run_folder / "ledger.jsonl").read_bytes()
    assert run_on_ray(on_ray) == result
    assert (on_ray.run_folder / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize(("key", "missing"), [("cpus_per_worker=512", "512 CPUs"), ("num_workers=512", "512 workers")])
def test_a_plan_that_no_node_holds_is_refused_before_anything_is_written(tmp_path, key, missing):
    small = ("finetune.batch_size=1024", "distil.batch_size=1024") if "num_workers" in key else ()
    prepared = prepared_run(tmp_path / "storage", "minidisc", f"compute.{key}", *small)
    with pytest.raises(UserError, match=rf"^this plan needs {missing}") as refused:
        run_on_ray(prepared)
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "storage").rglob("*"))
