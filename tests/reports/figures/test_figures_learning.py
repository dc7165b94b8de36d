"""Learning curves: which line leads to the student, and that many trials stay readable."""

import pytest
from figures_kit import costs, svg_text
from reports_builder import model, run_result, stage

from minidisc_ray.core.task import Task, selection_names
from minidisc_ray.reports.figures import learning_drawings
from minidisc_ray.reports.figures._base import scope_of
from minidisc_ray.reports.figures.learning import learning_data
from minidisc_ray.run_files.history import EpochNote
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.state import EpochRecord


def note(trial: str, stage: str, epoch: int, f1_by_scale: dict[int, float], **losses: float) -> EpochNote:
    metrics = {scale: {"f1": value, "accuracy": value - 0.1} for scale, value in f1_by_scale.items()}
    score = max(f1_by_scale.values())
    record = EpochRecord(epoch=epoch, losses=losses or {"logits": 1 / epoch}, metrics=metrics, selection_score=score)
    return EpochNote(trial=trial, stage=stage, step=10 * epoch, at=1000.0 + epoch, epoch=record)


def sweep(trials: int = 3) -> tuple[RunResult, list[EpochNote]]:
    """A MaxiDisc run: its second trial, of the assistant at 40%, led to the student."""
    scales = [55, 40, *range(38, 38 - trials + 2, -1)]
    stages = [stage("teacher", 1, "shared")] + [
        stage(name, 1, f"scale-{scale}") for scale in scales for name in ("assistant", "student")
    ]
    student = model(10, 0.84, selection_metrics={"f1": 0.81, "accuracy": 0.7})
    run = costs(run_result("maxidisc", student=student, student_trial="scale-40"), *stages)
    notes = [note("shared", "teacher", epoch, {100: 0.8 + epoch / 100}, labels=1 / epoch) for epoch in (1, 2, 3)]
    for scale in scales:
        trial = f"scale-{scale}"
        notes += [note(trial, "student", epoch, {10: 0.7 + scale / 1000 + epoch / 1000}) for epoch in (1, 2)]
        notes += [note(trial, "assistant", epoch, {scale: 0.8}, logits=0.5, hidden=0.25 * epoch) for epoch in (1, 2)]
    # The kept student's best epoch.
    notes.append(note("scale-40", "student", 3, {10: 0.81}))
    return run, notes


def test_stages_stand_in_the_order_of_execution_and_the_kept_trial_is_marked():
    run, notes = sweep()
    teacher, assistant, student = learning_data(run, notes)
    assert [found.stage for found in (teacher, assistant, student)] == ["teacher", "assistant", "student"]
    assert teacher.metrics[0].values == pytest.approx({1: 0.81, 2: 0.82, 3: 0.83})
    assert (teacher.metrics[0].is_kept, teacher.metrics[0].kept_epoch) == (True, 3)
    assert [curve.is_kept for curve in assistant.metrics] == [False, True, False]
    (kept,) = [curve for curve in student.metrics if curve.is_kept]
    assert kept.values[3] == 0.81
    assert kept.kept_epoch == 3
    assert assistant.losses[1].values == {1: 0.75, 2: 1.0}
    assert {name: curve.values for name, curve in assistant.terms.items()} == {
        "logits": {1: 0.5, 2: 0.5},
        "hidden": {1: 0.25, 2: 0.5},
    }
    assert teacher.terms == {}


def test_the_assistant_of_a_sandwich_is_marked_among_its_scales():
    run = costs(run_result("minidisc"), stage("sandwich", 1), stage("student", 1))
    notes = [note("main", "sandwich", epoch, {55: 0.9, 40: 0.8, 25: 0.7, 10: 0.6}) for epoch in (1, 2)]
    (sandwich,) = learning_data(run, notes)
    assert sandwich.is_nested
    assert [(curve.values[1], curve.is_kept) for curve in sandwich.metrics] == [
        (0.9, False), (0.8, True), (0.7, False), (0.6, False),
    ]  # fmt: skip
    assert sandwich.losses[0].is_kept


def test_no_epoch_is_marked_where_the_student_is_none_of_them():
    student = model(10, 0.84, selection_metrics={"f1": 0.99, "accuracy": 0.9})
    run = costs(run_result("minidisc", student=student), stage("student", 1))
    (found,) = learning_data(run, [note("main", "student", epoch, {10: 0.8}) for epoch in (1, 2)])
    assert found.metrics[0].is_kept
    assert found.metrics[0].kept_epoch is None


def test_a_mean_of_metrics_is_drawn_as_choices_use_it():
    label = Task("t", ("text",), "label", ("a", "b"), ("f1",), selection_metrics=("f1", "accuracy")).selection_label
    assert selection_names(label) == ("f1", "accuracy")
    assert selection_names("f1") == ("f1",)
    run = costs(run_result(selection_metric=label), stage("student", 1))
    (found,) = learning_data(run, [note("main", "student", 1, {10: 0.8})])
    assert found.metrics[0].values[1] == pytest.approx(0.75)


def test_eighteen_trials_are_one_row_a_stage_with_one_coloured_line():
    run, notes = sweep(18)
    (drawing,) = learning_drawings(run, notes)
    assert drawing.name == f"learning-{scope_of(run)}"
    text = svg_text(drawing.figure)
    for words in ("Teacher", "Assistant, 18 trials", "Student, 18 trials", "Leads to the student", "Epoch kept"):
        assert words in text
    for axes in drawing.figure.axes[2:]:
        lines = [line for line in axes.lines if line.get_label() == "Leads to the student"]
        assert len(lines) == 1
    assert drawing.figure.get_size_inches()[1] < 6
    assert "blue leads to the student" in drawing.caption


def test_a_run_without_epochs_has_no_curves():
    assert learning_drawings(run_result(), []) == []
