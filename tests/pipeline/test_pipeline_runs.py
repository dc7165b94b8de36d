"""Whole runs in one process: what they leave, what they say, and that the same again gives the same."""

import json
import sys

import pytest
import torch
import yaml
from pipeline_kit import (
    SCHEDULES,
    attempts_in,
    metrics_of,
    numbers,
    prepared_run,
    random_teacher,
    run,
    stages_of,
)
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.reports.figures.learning import learning_data
from minidisc_ray.reports.run.predictions import prediction_sections
from minidisc_ray.run_files.failures import trial_folder
from minidisc_ray.run_files.history import read_history
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import load_result
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

KINDS = tuple(SCHEDULES)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One storage with a finished run of every schedule; tests that change it copy it or use their own."""
    root = tmp_path_factory.mktemp("storage")
    for kind in KINDS:
        run(root, kind)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_whole_run_directory(storage, kind):
    prepared = prepared_run(storage, kind)
    folder = prepared.run_folder
    result = load_result(folder)
    assert (result.method, result.name, result.seed) == (kind, folder.name, 0)
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "result.json", "ledger.jsonl", "student"}
    assert resolve(yaml.safe_load((folder / "config.yaml").read_text())) == prepared.config
    assert result.student.scale_percent == 10
    assert 0 <= result.student.validation_metrics["accuracy"] <= 1
    assert result.student.total_parameters > result.student.encoder_parameters > 0
    assert result.student.macs_at_128 == forward_macs(prepared.shape, structures_of(prepared, (10,))[10], 1, 128)
    assert {name: split.rows for name, split in result.splits.items()} == {
        "train": 115,
        "selection": 13,
        "validation": 64,
    }
    assert {progress.status for progress in read_progress(folder)} == {"finished"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_reports_its_own_way(storage, kind):
    result = load_result(prepared_run(storage, kind).run_folder)
    scales = {"conventional": [], "assistant": [40], "minidisc": [60, 30], "maxidisc": [60, 30]}[kind]
    assert [candidate.scale_percent for candidate in result.candidates] == scales
    assert len(result.assistants) == (0 if kind == "conventional" else 1)
    assert len(result.trials) == (2 if kind == "maxidisc" else 0)
    assert len(result.choice_by_lambda) == (7 if kind == "minidisc" else 0)
    metrics = {candidate.scale_percent: candidate.metric for candidate in result.candidates}
    tradeoffs = lambda_tradeoff(metrics, 0.2)
    assert {c.scale_percent: c.lambda_tradeoff for c in result.candidates} == pytest.approx(tradeoffs)
    if kind == "minidisc":
        # Two of three scales are trained: the largest candidate and the student's own; 30 is evaluated alone.
        assert [candidate.trained for candidate in result.candidates] == [True, False]
        assert result.assistants[0].scale_percent == best_scale(tradeoffs)
        assert result.choice_by_lambda["0.2"] == best_scale(tradeoffs)
    if kind == "maxidisc":
        best = max(result.trials, key=lambda trial: (trial.student_selection, -trial.assistant_percent))
        assert result.assistants[0].scale_percent == best.assistant_percent
        assert result.student.selection_metrics["accuracy"] == best.student_selection
        assert result.student.validation_metrics["accuracy"] == best.student_validation


@pytest.mark.parametrize("kind", KINDS)
def test_the_student_scores_what_the_result_says(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    student = load_model(prepared.run_folder / "student")
    assert metrics_of(prepared, student, prepared.validation["validation"]) == result.student.validation_metrics
    assert metrics_of(prepared, student, prepared.selection) == result.student.selection_metrics
    assert structure_of(student.config).heads == result.student.heads
    assert structure_of(student.config).neurons == result.student.neurons
    assert sum(parameter.numel() for parameter in student.parameters()) == result.student.total_parameters
    assert student.config.id2label == {0: "negative", 1: "positive"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_keeps_what_its_page_shows_of_predictions_and_epochs(storage, kind):
    folder = prepared_run(storage, kind).run_folder
    result = load_result(folder)
    assert result.label_names == ("negative", "positive")
    (section,) = prediction_sections(folder, result)
    for model, confusion in zip((result.student, result.teacher), section.confusions, strict=True):
        rows = confusion.table.rows
        assert sum(sum(row[1:]) for row in rows) == 64
        assert (rows[0][1] + rows[1][2]) / 64 == model.validation_metrics["accuracy"]
    # The number of curves of each stage: trials of a sweep, scales of a sandwich.
    expected = {
        "conventional": {"teacher": 1, "student": 1},
        "assistant": {"teacher": 1, "assistant": 1, "student": 1},
        "minidisc": {"teacher": 1, "sandwich": 3, "student": 1},
        "maxidisc": {"teacher": 1, "assistant": 2, "student": 2},
    }
    # The teacher is of the first of these runs, and stands in all.
    stages = learning_data(result, read_history(folder))
    assert [(stage.stage, len(stage.metrics)) for stage in stages] == list(expected[kind].items())
    (kept,) = [curve for curve in stages[-1].metrics if curve.is_kept]
    assert kept.values[kept.kept_epoch] == result.student.selection_metrics["accuracy"]
    assert list(stages[0].metrics[0].values) == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_tells_its_objective_and_what_a_step_takes(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    assert result.objective == prepared.config.objective.label == "LTSD"
    made = next(stage for stage in reversed(result.cost.stages) if stage.stage == "student")
    assert 0 < result.student_step_seconds < made.seconds
    if sys.platform == "linux":
        assert result.student_step_memory_bytes >= 0
    stages = {"conventional": ["student"], "minidisc": ["sandwich", "student"]}.get(kind, ["assistant", "student"])
    for trial in prepared.plan.trials:
        for stage in stages:
            record = read_record(LOCAL, trial_folder(prepared.run_folder, trial.name) / "stages" / stage)
            assert record.step_seconds > 0, (trial.name, stage)


def assistant_of(result):
    return result.assistants[0].scale_percent if result.assistants else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_that_came_fine_tuned_is_used_as_it_is(tmp_path, kind):
    overrides = random_teacher(tmp_path / "teacher")
    prepared = prepared_run(tmp_path / "runs", kind, overrides)
    result = run_in_process(prepared)
    assert result.teacher_source == "teacher, used as it is"
    assert result.teacher_may_have_seen_selection
    assert result.cost.teacher_training_flops == 0
    validation = prepared.validation["validation"]
    given, kept = load_model(tmp_path / "teacher"), load_model(prepared.teacher_folder / "model")
    assert all(torch.equal(*pair) for pair in zip(given.parameters(), kept.parameters(), strict=True))
    assert metrics_of(prepared, given, validation) == result.teacher.validation_metrics
    logits = score_model(given, validation, prepared.pad_token_id, Workers(), "float32")
    assert 0.1 < logits.argmax(-1).mean() < 0.9, "a teacher that always says the same shows nothing"
    student = load_model(prepared.run_folder / "student")
    assert metrics_of(prepared, student, validation) == result.student.validation_metrics
    assert metrics_of(prepared, student, prepared.selection) == result.student.selection_metrics
    winner = next(
        (t for t in prepared.plan.trials if t.assistant_percent == assistant_of(result)), prepared.plan.trials[0]
    )
    made = trial_folder(prepared.run_folder, winner.name) / "stages" / "student" / "model" / "model.safetensors"
    assert (prepared.run_folder / "student" / "model.safetensors").read_bytes() == made.read_bytes()
    for assistant in result.assistants:
        assert assistant.validation_metrics.keys() == {"accuracy"}


@pytest.mark.parametrize("kind", KINDS)
def test_running_again_trains_nothing_and_gives_the_same_numbers(storage, kind):
    prepared = prepared_run(storage, kind)
    before, attempts = load_result(prepared.run_folder), stages_of(prepared)
    weights = (prepared.run_folder / "student" / "model.safetensors").read_bytes()
    again = run_in_process(prepared)
    assert stages_of(prepared) == attempts
    assert numbers(again) == numbers(before)
    assert again.cost == before.cost
    assert (prepared.run_folder / "student" / "model.safetensors").read_bytes() == weights


def test_the_same_seed_gives_the_same_numbers_elsewhere(storage, tmp_path):
    result = run(tmp_path, "minidisc")
    there = prepared_run(storage, "minidisc").run_folder
    assert numbers(result) == numbers(load_result(there))
    here = prepared_run(tmp_path, "minidisc").run_folder
    assert (here / "student" / "model.safetensors").read_bytes() == (
        there / "student" / "model.safetensors"
    ).read_bytes()


def test_the_teacher_and_importance_are_shared_and_charged_all_the_same(storage):
    made, *others = [prepared_run(storage, kind) for kind in KINDS]
    costs = {kind: load_result(prepared_run(storage, kind).run_folder).cost for kind in KINDS}
    for kind, cost in costs.items():
        shared = {stage.stage: stage for stage in cost.stages if stage.trial == "shared"}
        assert set(shared) == {"teacher", "importance"}
        assert {stage.reused for stage in shared.values()} == {kind != "conventional"}  # which ran first
        assert not shared["teacher"].in_ratio
        assert shared["importance"].in_ratio
        assert shared["importance"].training_flops == costs["conventional"].stages[1].training_flops > 0
        assert cost.training_flops == sum(stage.training_flops for stage in cost.stages if stage.in_ratio)
        assert cost.device_hours == pytest.approx(sum(s.device_hours for s in cost.stages if s.in_ratio))
        assert cost.teacher_device_hours == shared["teacher"].device_hours > 0
        assert cost.teacher_training_flops == shared["teacher"].training_flops > 0
    assert {attempt.name for attempt in stages_of(made)} == {"teacher", "importance", "student"}
    for prepared in others:
        assert not {"teacher", "importance"} & {attempt.name for attempt in stages_of(prepared)}
    assert len({prepared.teacher_key for prepared in (made, *others)}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_of_the_ledger_is_seconds_held_times_devices(storage, kind):
    prepared = prepared_run(storage, kind)
    cost = load_result(prepared.run_folder).cost
    stages = stages_of(prepared)
    shared = [a for name in (prepared.teacher_folder, prepared.importance_folder) for a in attempts_in(name)]
    own = [attempt for attempt in stages if attempt.name not in ("teacher", "importance")]
    charged = sum(stage.device_hours for stage in cost.stages)
    assert charged == pytest.approx(sum(a.seconds * a.devices for a in (*shared, *own)) / 3600)
    assert all(stage.device_hours == pytest.approx(stage.seconds * stage.devices / 3600) for stage in cost.stages)
    held = [a for a in Ledger(LOCAL, prepared.run_folder / "ledger.jsonl").attempts() if a.kind == "hold"]
    assert len(held) == (2 if kind == "maxidisc" else 1)
    assert cost.startup_device_hours == pytest.approx(
        sum(a.device_hours for a in held) - sum(a.device_hours for a in stages), abs=1e-6
    )
    assert cost.device_unit == "core-hours"


@pytest.mark.parametrize("kind", KINDS)
def test_measured_training_flops_are_those_of_the_closed_form(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.02)
    for stage in Estimator(prepared).stages():
        found = [s for s in result.cost.stages if s.stage == stage.stage and s.trial in (stage.trial, "shared")]
        # The choice is known only afterwards: before it, the student's teacher is the middle of the grid.
        chosen = kind == "minidisc" and stage.stage == "student"
        assert found[0].training_flops == pytest.approx(stage.training_flops, rel=0.25 if chosen else 0.02), stage


def test_per_step_sampling_runs_and_costs_what_the_closed_form_says(storage):
    result = run(storage, "minidisc", ("schedule.sampling=per_step", "sandwich={num_epochs: 3, batch_size: 16}"))
    # Two a step are its ends, the largest and the student's own: the one between is never drawn.
    assert [candidate.trained for candidate in result.candidates] == [True, False]
    found = next(stage for stage in result.cost.stages if stage.stage == "sandwich")
    assert found.num_epochs == 3
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.05)


def test_results_of_other_versions_and_folders_without_one_are_refused(tmp_path, storage):
    with pytest.raises(UserError, match=r"no result\.json"):
        load_result(tmp_path)
    raw = json.loads((prepared_run(storage, "conventional").run_folder / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        load_result(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_result(tmp_path)


def test_trials_of_a_sweep_lie_apart(storage):
    prepared = prepared_run(storage, "maxidisc")
    folders = [trial_folder(prepared.run_folder, trial.name) for trial in prepared.plan.trials]
    assert [folder.relative_to(prepared.run_folder).as_posix() for folder in folders] == [
        "trials/scale-60",
        "trials/scale-30",
    ]
    for folder, scale in zip(folders, (60, 30), strict=True):
        assert read_record(LOCAL, folder / "stages" / "assistant").scale_percent == scale
        assert structure_of(load_model(folder / "stages" / "student" / "model").config).scale_percent == 10
