import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from armed_pickle import arm_all
from ray_kit import RAY, SCHEDULES, attempts_of, numbers, prepared_run, run_on_ray

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Failure, Item, ItemQueue
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.result import RunResult

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]

NAMES = ["scale-80", "scale-60", "scale-30"]


@dataclass(frozen=True)
class FirstCall:
    """A sweep of which one trial failed.

    Attributes:
        prepared: the run.
        closed: each trial, with why it failed.
        result: of the call.
        progress: what it left, (trial, status) each.
        attempts: of stages.
    """

    prepared: PreparedRun
    closed: dict[str, Failure | None]
    result: RunResult
    progress: set[tuple[str, str]]
    attempts: list[Attempt]


@dataclass(frozen=True)
class SecondCall:
    """The same sweep again, once the trial that failed could run.

    Attributes:
        armed: Tune's pickles of the first call, each of which would leave ``marker`` if it was loaded.
        marker: what none of them left.
        result: of the call.
    """

    armed: set[str]
    marker: Path
    result: RunResult


@pytest.fixture(scope="module")
def first(tmp_path_factory, local_ray) -> FirstCall:
    closed: dict[str, Failure | None] = {}
    close_item = ItemQueue.close

    def close(queue: ItemQueue, title: str, failure: Failure | None) -> list[Item]:
        closed[title] = failure
        return close_item(queue, title, failure)

    prepared = prepared_run(tmp_path_factory.mktemp("sweep"), "maxidisc", "compute.max_failures=0")
    obstacle = obstacle_of(open_run(prepared))
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("a file where a folder belongs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ItemQueue, "close", close)
        result = run_on_ray(prepared)
    progress = {(p.trial, p.status) for p in read_progress(prepared.run_folder)}
    return FirstCall(prepared, closed, result, progress, attempts_of(prepared, "stage"))


def obstacle_of(run_folder: Path) -> Path:
    return run_folder / "trials" / "scale-60" / "stages"


@pytest.fixture(scope="module")
def second(first) -> SecondCall:
    prepared = first.prepared
    obstacle_of(prepared.run_folder).unlink()
    # Tune writes pickles for itself, to restore an experiment: whatever became of them, none is loaded.
    marker = prepared.storage.root / "it ran"
    armed = {path.name for path in arm_all(prepared.run_folder / "ray" / "tune-001", marker)}
    return SecondCall(armed, marker, run_on_ray(prepared))


@pytest.fixture
def swept(first, second):
    return first.prepared, second.result


def test_one_failed_trial_ends_no_other(first):
    trials = {trial.name: trial for trial in first.result.trials}
    statuses = {"scale-80": "finished", "scale-60": "failed", "scale-30": "finished"}
    assert {name: trial.status for name, trial in trials.items()} == statuses
    assert "scale-60" in trials["scale-60"].reason
    assert "\n" not in trials["scale-60"].reason
    # The driver may write the result as soon as the last item is closed.
    (failure,) = [failure for failure in first.closed.values() if failure is not None]
    assert failure.sentence == trials["scale-60"].reason
    assert trials["scale-60"].student_selection is None
    assert first.progress == {*statuses.items(), ("shared", "finished")}
    failed = {(a.trial, a.name, a.status) for a in first.attempts if a.status != "finished"}
    assert failed == {("scale-60", "assistant", "failed")}


def test_every_scale_is_a_trial_and_the_best_student_is_kept(swept):
    prepared, result = swept
    assert [trial.name for trial in result.trials] == NAMES
    assert [trial.assistant_percent for trial in result.trials] == [80, 60, 30]
    assert {(trial.status, trial.reason) for trial in result.trials} == {("finished", None)}
    best = max(result.trials, key=lambda trial: (trial.student_selection, -trial.assistant_percent))
    assert result.assistants[0].scale_percent == best.assistant_percent
    assert result.student.selection_metrics["accuracy"] == best.student_selection
    assert result.student.validation_metrics["accuracy"] == best.student_validation
    kept, source = (
        folder / "model.safetensors"
        for folder in (
            prepared.run_folder / "student",
            prepared.run_folder / "trials" / best.name / "stages" / "student" / "model",
        )
    )
    assert kept.read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_trials_end_early_with_their_probes(swept):
    SCHEDULES["ended_early"] = {"kind": "maxidisc", "scales": [80, 60, 40, 30], "early_end": "asha"}
    # With the teacher that is there.
    prepared = prepared_run(swept[0].storage.root, "ended_early", "distil.num_epochs=2")
    result = run_on_ray(prepared)
    assert sorted(trial.status for trial in result.trials) == ["ended early"] * 3 + ["finished"]
    (kept,) = [trial for trial in result.trials if trial.status == "finished"]
    stages = attempts_of(prepared, "stage")
    probes = [a for a in stages if a.trial.startswith("probe-")]
    assert len({a.trial for a in probes}) == 4
    tune = prepared.run_folder / "ray" / "tune-001"
    reports = [tune / f"{prepared.name}.{name}" / "result.json" for name in {a.trial for a in probes}]
    processes = {json.loads(report.read_text().splitlines()[-1])["pid"] for report in reports}
    assert len(processes) <= 2, "the third trial is given an actor again"
    in_full = [a for a in stages if a.trial.startswith("scale-")]
    assert {a.trial for a in in_full} == {kept.name}
    assert max(a.started_at + a.seconds for a in probes) <= min(a.started_at for a in in_full)
    assert result.student.validation_metrics["accuracy"] == kept.student_validation


def test_trials_share_the_teacher_and_importance_and_run_beside_each_other(swept):
    prepared, result = swept
    stages = attempts_of(prepared, "stage")
    shared = [(a.name, a.trial) for a in stages if a.name in ("teacher", "importance")]
    assert shared == [("teacher", "shared"), ("importance", "shared")]
    own = sorted((a.trial, a.name) for a in stages if a.trial != "shared" and a.status == "finished")
    assert own == sorted((name, stage) for name in NAMES for stage in ("assistant", "student"))
    holds = {a.trial: a for a in attempts_of(prepared, "hold")}
    assert set(holds) == {"shared", *NAMES}
    own_holds = [a for a in attempts_of(prepared, "hold") if a.trial != "shared"]
    # Trials of a second may end before another begins, so an overlap is not sure; that it is never of three is.
    at_once = [sum(o.started_at <= h.started_at < o.started_at + o.seconds for o in own_holds) for h in own_holds]
    assert max(at_once) <= 2, "there are two CPUs"
    shared_end = holds["shared"].started_at + holds["shared"].seconds
    assert shared_end <= min(a.started_at for a in stages if a.trial != "shared")
    trial_stages = [stage for stage in result.cost.stages if stage.trial != "shared"]
    assert len(trial_stages) == 6
    for trial in result.trials:
        assert trial.device_hours == pytest.approx(sum(s.device_hours for s in trial_stages if s.trial == trial.name))


def test_trials_have_their_names_wherever_they_are_looked_at(swept):
    folder = swept[0].run_folder
    assert {(p.trial, p.status) for p in read_progress(folder)} == {(name, "finished") for name in (*NAMES, "shared")}
    tune, run = folder / "ray" / "tune-001", swept[0].name
    titles = {f"{run}.{name}" for name in (*NAMES, "shared")}
    assert {path.name for path in tune.iterdir() if path.is_dir()} == titles
    for name in NAMES:
        assert list((tune / f"{run}.{name}").glob("events.out.tfevents.*")), "TensorBoard over Tune's own metrics"
        assert list((folder / "tensorboard" / name / "student").glob("events.out.tfevents.*"))


def test_a_finished_sweep_returns_at_once(swept):
    prepared, result = swept
    before = (prepared.run_folder / "ledger.jsonl").read_bytes()
    assert run_on_ray(prepared) == result
    assert (prepared.run_folder / "ledger.jsonl").read_bytes() == before
    assert not (prepared.run_folder / "ray" / "tune-003").exists()


def test_a_failed_trial_runs_alone_when_it_can_and_no_pickle_is_loaded(first, second, tmp_path):
    assert "tuner.pkl" in second.armed
    assert not second.marker.exists()
    new = attempts_of(first.prepared, "stage")[len(first.attempts) :]
    assert [(a.trial, a.name, a.status) for a in new] == [
        ("scale-60", "assistant", "finished"),
        ("scale-60", "student", "finished"),
    ]
    assert second.result.trials[1].reason is None
    assert numbers(second.result) == numbers(run_in_process(prepared_run(tmp_path, "maxidisc")))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_sweep_whose_trials_need_every_cpu_for_workers_of_their_own_ends(swept):
    storage = swept[0].storage
    prepared = prepared_run(storage, "maxidisc", "compute.num_workers=2", "schedule.scales.values=[60, 30]")
    result = run_on_ray(prepared)
    assert [(trial.name, trial.status) for trial in result.trials] == [
        ("scale-60", "finished"),
        ("scale-30", "finished"),
    ]
    holds = attempts_of(prepared, "hold")
    assert {(a.trial, a.devices) for a in holds} == {("scale-60", 2.0), ("scale-30", 2.0)}
    first, second = sorted((a.started_at, a.started_at + a.seconds) for a in holds)
    assert second[0] >= first[1], "two CPUs hold the workers of one trial"
    config = yaml.safe_load((prepared.run_folder / "config.yaml").read_text())
    assert config["compute"]["num_workers"] == 2
