"""Many runs as one Tune experiment on a real local Ray."""

import os
import signal
import threading

import pytest
from ray.tune.experiment import Trial as TuneTrial
from ray_kit import RAY, SCHEDULES, TRIAL_TITLES, attempts_of, numbers, prepared_run, processes_below, student_weights
from wait_kit import wait_until

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.ray_backend.items import items_of
from minidisc_ray.ray_backend.run import run_many
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]

GRID = {"kind": "list", "values": [60, 30]}
VARIANTS = {
    "conventional": {"kind": "conventional"},
    "tradeoff_of_each": {"kind": "maxidisc", "scales": GRID, "selection": {"kind": "lambda"}},
    "students_of_a_sandwich": {"kind": "maxidisc", "scales": GRID, "assistants": "sandwich", "num_sampled": 2},
    "auto": {"kind": "auto", "min_gap_points": 100, "then": {"kind": "assistant", "assistant_percent": 40}},
}
SCHEDULES.update(VARIANTS)
# A probe takes half of the epochs.
OVERRIDES = {"auto": ("distil.num_epochs=2",)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, local_ray):
    storage = tmp_path_factory.mktemp("many")
    runs = [prepared_run(storage, kind, *OVERRIDES.get(kind, ())) for kind in VARIANTS]
    results, seen = [], set()
    run_many(
        runs,
        storage / "study",
        lambda prepared, result: results.append((prepared.name, result)),
        lambda progress: seen.update(one.trial for one in progress),
    )
    return storage, runs, dict(results), seen


def test_every_run_has_its_result_in_one_experiment(finished):
    storage, runs, results, seen = finished
    assert results.keys() == {run.name for run in runs}
    assert all(load_result(run.run_folder) == results[run.name] for run in runs)
    assert [path.name for path in (storage / "study" / "ray").iterdir() if path.is_dir()] == ["tune-001"]
    titles = {path.name for path in (storage / "study" / "ray" / "tune-001").iterdir() if path.is_dir()}
    assert {f"{runs[1].name}.chosen", f"{runs[2].name}.shared", runs[0].name} <= titles
    assert seen <= titles
    assert seen


def test_the_teacher_was_made_once(finished):
    _, runs, results, _ = finished
    made = [
        (run.name, a.name) for run in runs for a in attempts_of(run, "stage") if a.name in ("teacher", "importance")
    ]
    assert made == [(runs[0].name, "teacher"), (runs[0].name, "importance")]
    for result in results.values():
        assert {stage.stage for stage in result.cost.stages} >= {"teacher", "importance", "student"}


def test_numbers_are_those_of_a_run_in_this_process(finished, tmp_path):
    _, runs, results, _ = finished
    for kind, run in zip(VARIANTS, runs, strict=True):
        here = prepared_run(tmp_path, kind, *OVERRIDES.get(kind, ()))
        assert numbers(run_in_process(here)) == numbers(results[run.name])
        assert student_weights(here) == student_weights(run)


def test_a_run_among_others_decides_by_itself(finished):
    _, runs, results, _ = finished
    auto = runs[-1]
    assert [a.name for a in attempts_of(auto, "stage")] == ["probe", "decide", "student"]
    decision = results[auto.name].decision
    assert decision is not None
    assert not decision.uses_assistant


def test_again_nothing_is_run(finished):
    storage, runs, _, _ = finished
    assert items_of(runs) == []
    run_many(runs, storage / "study", lambda prepared, result: pytest.fail("nothing has a new result"))
    assert not (storage / "study" / "ray" / "tune-002").exists()


def test_a_result_that_cannot_be_written_is_that_runs_failure(finished):
    storage, runs, results, _ = finished
    file = runs[0].run_folder / "result.json"
    file.unlink()
    file.mkdir()
    names = []
    run_many(runs, storage / "study", lambda prepared, result: names.append(prepared.name))
    assert names == []
    assert "result could not be written" in (read_failure(runs[0].run_folder, "main") or "")
    file.rmdir()
    run_many(runs, storage / "study", lambda prepared, result: names.append(prepared.name))
    assert names == [runs[0].name]
    assert read_failure(runs[0].run_folder, "main") is None
    assert load_result(runs[0].run_folder).student == results[runs[0].name].student


@pytest.mark.slow
def test_a_failed_trial_ends_no_other_run_and_is_tried_again_when_asked(finished):
    storage, _, _, _ = finished
    bad, good = (
        prepared_run(storage, "minidisc", "compute.max_failures=0", f"name={name}") for name in ("bad", "good")
    )
    obstacle = open_run(bad) / "stages"
    obstacle.write_text("a file where a folder belongs")
    names = []

    def run_again(which="new"):
        run_many(
            [bad, good],
            storage / "study",
            lambda run, result: names.append(run.name),
            which=which,
        )

    run_again()
    assert names == ["good"]
    reason = read_failure(bad.run_folder, "main")
    assert reason is not None
    assert "\n" not in reason
    run_again()
    assert names == ["good"], "what failed is left as it is"
    obstacle.unlink()
    run_again("failed")
    assert names == ["good", "bad"]
    assert read_failure(bad.run_folder, "main") is None
    assert load_result(bad.run_folder).student == load_result(good.run_folder).student


@pytest.mark.slow
def test_a_dead_trial_is_reported_in_words_and_its_pickle_in_the_storage_is_left_alone(tmp_path, monkeypatch):
    """The last attempt; that of a trial which is tried again is looked at where a worker is killed."""
    run = prepared_run(tmp_path, "conventional", "compute.max_failures=0", "finetune.num_epochs=50")
    loaded, load = [], TuneTrial.get_pickled_error

    def load_and_note(trial):
        loaded.append(load(trial))
        return loaded[-1]

    monkeypatch.setattr(TuneTrial, "get_pickled_error", load_and_note)

    def kill() -> None:
        wait_until((run.run_folder / "progress" / "main.json").is_file, 120, "training")
        for pid, command in processes_below(os.getpid()).items():
            if command.startswith(TRIAL_TITLES):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run_many([run], tmp_path / "study", lambda prepared, result: pytest.fail("its teacher died"))
    killer.join()
    assert "process died" not in read_failure(run.run_folder, "main"), "Ray knows more"
    assert list((tmp_path / "study").rglob("error.pkl"))
    assert loaded == [None]
