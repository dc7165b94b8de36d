"""A sweep whose hopeless trials end after their probes: whole tiny runs, without Ray."""

import json
import re
import shutil

import pytest
from pipeline_kit import numbers, random_teacher, stages_of
from pipeline_kit import prepared_run as prepared_maxidisc
from storage_kit import LOCAL

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.pipeline.early_end import verdicts
from minidisc_ray.pipeline.finish import finish_run, is_finished
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.ray_backend.items import items_of
from minidisc_ray.ray_backend.policies.queue import ItemQueue
from minidisc_ray.reports.run.early_end import early_end_line
from minidisc_ray.run_files.failures import write_failure
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.early_end import promoted_scales
from minidisc_ray.training.loop import TrainingError

GRID = {"kind": "list", "values": [80, 60, 40, 20]}
# Apart from the schedules of other tests: those train for one epoch, and a probe must be shorter than its trial.
SWEEPS = {
    "all_in_full": {"kind": "maxidisc", "scales": GRID},
    "ended_early": {"kind": "maxidisc", "scales": GRID, "early_end": "asha"},
    "ended_early_alone": {"kind": "maxidisc", "scales": {"kind": "list", "values": [40]}, "early_end": "asha"},
}
EPOCHS = ("distil.num_epochs=5",)


def prepared_run(storage, name, overrides):
    return prepared_maxidisc(storage, "maxidisc", (*overrides, f"schedule={json.dumps(SWEEPS[name])}"))


def run(storage, name, overrides):
    return run_in_process(prepared_run(storage, name, overrides))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("early")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    return (*random_teacher(tmp_path_factory.mktemp("teacher")), *EPOCHS)


@pytest.fixture(scope="module")
def result(storage, overrides) -> RunResult:
    return run(storage, "ended_early", overrides)


def test_a_quarter_of_the_trials_runs_in_full(result):
    by_status = {trial.status: [] for trial in result.trials}
    for trial in result.trials:
        by_status[trial.status].append(trial)
    assert {status: len(trials) for status, trials in by_status.items()} == {"finished": 1, "ended early": 3}
    for trial in by_status["ended early"]:
        pattern = r"its probe's student had \d+\.\d; the best 1 went on, of equals the smaller scale"
        assert re.fullmatch(pattern, trial.reason)
    assert all(trial.student_selection is None for trial in by_status["ended early"])
    assert all(trial.training_flops > 0 for trial in result.trials)
    assert result.label == "MaxiDisc (asha)"


def test_what_goes_on_is_what_did_best_and_gives_what_it_gives_without_probes(result, storage, overrides):
    plain = run(storage, "all_in_full", overrides)
    in_full = {trial.assistant_percent: trial for trial in plain.trials}
    kept = [trial for trial in result.trials if trial.status == "finished"]
    for trial in kept:
        same = in_full[trial.assistant_percent]
        assert trial.student_selection == same.student_selection
        assert trial.student_validation == same.student_validation
        assert trial.training_flops > same.training_flops
    found = result.early_end
    assert found is not None
    assert found.worst_kept_probe >= found.best_ended_probe
    measured = 1 - result.cost.training_flops / plain.cost.training_flops
    assert found.saved_share == pytest.approx(measured, abs=0.05)
    assert 0.1 < found.saved_share < 0.7


def test_the_closed_form_counts_what_really_ran(result):
    cost = result.cost
    assert result.closed_form_training_flops == pytest.approx(cost.training_flops, rel=0.03)
    assert result.closed_form_evaluation_flops == pytest.approx(cost.evaluation_flops, rel=0.03)


def test_its_line_says_what_was_saved_and_risked(result):
    line = early_end_line(result)
    assert line.startswith("3 of 4 trials ended with their probes: ")
    assert "one standard error is" in line
    assert "fewer FLOPs than with all in full" in line
    dearer = result.early_end.model_copy(update={"saved_share": -0.25, "standard_error": None})
    line = early_end_line(result.model_copy(update={"early_end": dearer}))
    assert "25% more FLOPs" in line
    assert "standard error" not in line
    assert early_end_line(result.model_copy(update={"early_end": None})) == ""


def test_it_runs_once(result, storage, overrides):
    prepared = prepared_run(storage, "ended_early", overrides)
    before = len(stages_of(prepared))
    assert run_in_process(prepared) == result
    assert len(stages_of(prepared)) == before


@pytest.mark.parametrize("is_lost", ["a probe", "a trial that went on"])
def test_an_interruption_changes_nothing(result, storage, overrides, tmp_path, is_lost):
    prepared = prepared_run(storage, "ended_early", overrides)
    shutil.copytree(storage, tmp_path / "copy")
    copied = tmp_path / "copy" / prepared.name
    shutil.rmtree(copied / "student")
    (copied / "result.json").unlink()
    promoted = [trial for trial in prepared.plan.trials if verdicts(prepared)[trial.name] == "goes on"]
    lost = [prepared.plan.probes[-1], *promoted] if is_lost == "a probe" else promoted[-1:]
    for trial in lost:
        shutil.rmtree(copied / "trials" / trial.name)
    assert numbers(run(tmp_path / "copy", "ended_early", overrides)) == numbers(result)


def test_with_one_scale_nothing_is_probed(storage, overrides):
    assert not prepared_run(storage, "ended_early_alone", overrides).plan.probes


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({50: 0.7, 40: 0.8, 30: 0.9}, (30,)),
        ({50: 0.7, 40: 0.8, 30: 0.9, 20: 0.6}, (30,)),
        ({}, ()),
        (dict.fromkeys(range(10, 90, 10), 0.5), (10, 20)),
    ],
)
def test_a_quarter_goes_on_and_of_equals_the_smaller(scores, expected):
    assert promoted_scales(scores) == expected


def test_probes_that_failed_are_waited_for_where_they_run_again(tmp_path, overrides):
    prepared = prepared_run(tmp_path, "ended_early", overrides)
    assert set(verdicts(prepared).values()) == {"waits"}
    for probe in prepared.plan.probes:
        write_failure(LOCAL, prepared.run_folder, probe.name, "its disk was full")
    assert set(verdicts(prepared).values()) == {"has no probe"}
    assert set(verdicts(prepared, [prepared.plan.probes[0].name]).values()) == {"waits"}


def test_a_probe_that_failed_fails_its_trial_until_it_runs_again(result, storage, overrides, tmp_path):
    shutil.copytree(storage, tmp_path / "copy")
    prepared = prepared_run(tmp_path / "copy", "ended_early", overrides)
    (prepared.run_folder / "result.json").unlink()
    probe = prepared.plan.probes[0]
    shutil.rmtree(prepared.run_folder / "trials" / probe.name)
    write_failure(LOCAL, prepared.run_folder, probe.name, "its disk was full")
    without = finish_run(prepared, 0.0)
    failed = [trial for trial in without.trials if trial.status == "failed"]
    assert [(trial.assistant_percent, trial.reason) for trial in failed] == [(80, "its disk was full")]
    assert not is_finished(prepared)
    (titles, *_) = ([item.trial for item in items_of([prepared], which)] for which in ("all", "failed"))
    assert probe.name in titles
    queue = ItemQueue(items_of([prepared], "all"))
    assert [queue.next_item().trial, queue.next_item()] == [probe.name, None]
    assert numbers(run(tmp_path / "copy", "ended_early", overrides)) == numbers(result)


def test_an_empty_folder_of_a_trial_that_ended_changes_nothing(result, storage, overrides, tmp_path):
    shutil.copytree(storage, tmp_path / "copy")
    prepared = prepared_run(tmp_path / "copy", "ended_early", overrides)
    ended = next(name for name, verdict in verdicts(prepared).items() if verdict == "ends")
    (prepared.run_folder / "trials" / ended / "stages" / "assistant").mkdir(parents=True)
    assert verdicts(prepared)[ended] == "ends"


def test_without_any_student_the_first_reason_is_given(result, storage, overrides, tmp_path):
    shutil.copytree(storage, tmp_path / "copy")
    prepared = prepared_run(tmp_path / "copy", "ended_early", overrides)
    shutil.rmtree(prepared.run_folder)
    for probe in prepared.plan.probes:
        write_failure(LOCAL, prepared.run_folder, probe.name, "its disk was full")
    with pytest.raises(TrainingError, match="no trial finished: its disk was full"):
        finish_run(prepared, 0.0)


@pytest.mark.parametrize("other", [{"assistants": "sandwich"}, {"selection": {"kind": "lambda"}}])
def test_it_needs_trials_with_students_of_their_own(other):
    schedule = {"kind": "maxidisc", "early_end": "asha", **other}
    with pytest.raises(UserError, match=r"early_end is asha.*leave early_end out"):
        resolve({"data": {"kind": "builtin"}, "schedule": schedule})


def test_another_value_is_refused_with_what_is_allowed():
    with pytest.raises(UserError, match=r"early_end.*asha"):
        resolve({"data": {"kind": "builtin"}, "schedule": {"kind": "maxidisc", "early_end": "median"}})


def test_a_probe_must_be_shorter_than_its_trial():
    raw = {"data": {"kind": "builtin"}, "schedule": {"kind": "maxidisc", "early_end": "asha"}}
    with pytest.raises(UserError, match=r"^schedule.early_end: .*distil.num_epochs is 1; use 2 or more"):
        resolve(raw, ["distil.num_epochs=1"])
    assert resolve(raw, ["distil.num_epochs=2"]).schedule.early_end == "asha"
