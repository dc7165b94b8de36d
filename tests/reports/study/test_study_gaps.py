"""A study's table where runs failed, are missing, learned nothing or do not belong together."""

import json
import re

import pytest
from reports_builder import BASE, PAPER, TASKS, cost, model, outcomes_of, scores
from storage_kit import LOCAL
from study_kit import cells_of, study_of

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.study.page import write_study
from minidisc_ray.reports.study.render import render_study
from minidisc_ray.reports.study.table import study_table
from minidisc_ray.run_files.result import TrialRecord
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.findings import Findings

DASH = "\N{EN DASH}"


@pytest.fixture
def study(tmp_path):
    return study_of(tmp_path, tasks=TASKS, paper=PAPER, scales=[5, 10])


def test_failed_and_unfinished_runs_show_and_are_reported(study, tmp_path):
    unfinished = [("MiniDisc", 5, task, seed) for task in TASKS for seed in (0, 1)] + [("LTSD", 5, "mnli", 1)]
    outcomes = []
    for one in outcomes_of(study, tmp_path):
        place = (one.cell.method, one.cell.scale_percent, one.cell.task, one.cell.seed)
        if place[:3] == ("TA", 10, "mrpc"):
            one = Outcome(one.cell, one.name, None, "out of memory.")
        elif place in unfinished:
            one = Outcome(one.cell, one.name, None, None)
        outcomes.append(one)
    table = study_table(study, outcomes)
    rows = {row.label: row for row in table.blocks[0].rows}
    texts = {label: [score.text for score in (*row.scores.values(), row.average)] for label, row in rows.items()}
    assert texts["TA10%"][:2] == ["failed (b)", "72.0 ± 1.4"]
    assert texts["TA10%"][-1] == DASH, "an average of some columns is none"
    assert texts["MiniDisc5%"] == [DASH] * 4
    assert texts["LTSD5%"] == ["81.0 ± 1.4", "70.0 (a)", "69.0 (a)", "73.0 (a)"]
    assert table.notes[:3] == (
        "(a) not finished, and not in the mean: mnli-LTSD-5-seed1.",
        "(b) failed (out of memory): mrpc-TA-10-seed0, mrpc-TA-10-seed1.",
        "17 of 24 runs are finished, 2 failed; not finished (–): mrpc-MiniDisc-5-seed0, mrpc-MiniDisc-5-seed1, "  # noqa: RUF001
        "mnli-MiniDisc-5-seed0, mnli-LTSD-5-seed1, mnli-MiniDisc-5-seed1.",
    )
    written = json.loads(render_study(table, "json"))
    assert written["failed"] == {f"mrpc-TA-10-seed{seed}": "out of memory." for seed in (0, 1)}
    assert len(written["unfinished"]) == 5


def test_a_sweep_without_some_trials_says_so(tmp_path):
    trial = {"name": "scale-40", "assistant_percent": 40, "status": "failed", "reason": "out of memory"}
    trials = (TrialRecord.model_validate(trial), TrialRecord(name="b", assistant_percent=20, status="finished"))
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods={"MaxiDisc": {"schedule": {"kind": "maxidisc"}}})
    table = study_table(study, outcomes_of(study, tmp_path, trials=trials))
    assert table.blocks[0].rows[1].scores["mrpc"].text == "81.0 ± 1.4 (a)"
    assert table.notes[0].startswith("(a) without 1 of 2 trials, which failed (out of memory): mrpc-MaxiDisc-")


def test_before_anything_has_run_every_cell_is_a_dash(study, tmp_path):
    table = study_table(study, [Outcome(cell, "run", None, None) for cell in cells_of(study, tmp_path)])
    (block,) = table.blocks
    assert [column.key for column in block.columns] == ["mrpc", "mnli_m", "mnli_mm"]
    assert {score.text for row in block.rows if row.group != "teacher" for score in row.scores.values()} == {DASH}
    assert render_study(table, "table", width=100)


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "paper"},
        {"data_digest": "another"},
        {"selection_split": "validation"},
        {"teacher": model(50, 0.9)},
        {"cost": cost(1.0, 1e15, "GPU-hours")},
    ],
)
def test_runs_that_do_not_belong_in_one_table_are_named(study, tmp_path, changes):
    outcomes = outcomes_of(study, tmp_path)
    last = outcomes[-1]
    outcomes[-1] = Outcome(last.cell, last.name, last.result.model_copy(update=changes), None)
    with pytest.raises(UserError, match=f"and {last.name} differ in"):
        study_table(study, outcomes)


LEARNED = "than always answering the majority class: "


def with_scores(outcomes, student, teacher, task="mrpc"):
    """The outcomes with another student's and teacher's score on one task."""
    found = []
    for one in outcomes:
        if one.cell.task == task:
            record = model(one.cell.scale_percent, 0.0, validation_metrics=scores(task, student(one)))
            teachers = model(100, 0.0, validation_metrics=scores(task, teacher(one)), **BASE)
            result = one.result.model_copy(update={"student": record, "teacher": teachers})
            one = Outcome(one.cell, one.name, result, None)
        found.append(one)
    return found


@pytest.mark.parametrize(
    ("student", "teacher", "sentence"),
    [
        (0.4, 0.4, f"12 of 12 students, and the teacher, are no better on mrpc {LEARNED}methods cannot be compared"),
        (0.3, 0.9, f"12 of 12 students are no better on mrpc {LEARNED}methods cannot be compared there."),
        (0.8, 0.4, f"The teacher is no better on mrpc {LEARNED}methods cannot be compared there."),
    ],
)
def test_a_dead_task_is_reported_before_anything_else(study, tmp_path, student, teacher, sentence):
    outcomes = with_scores(outcomes_of(study, tmp_path), lambda one: student, lambda one: teacher)
    table = study_table(study, outcomes)
    assert table.notes[0].startswith(sentence)
    assert table.warnings == table.notes[:1], "mnli is well"


def test_some_students_that_learned_nothing_are_counted(study, tmp_path):
    def student(one):
        return 0.4 if one.cell.method == "TA" and one.cell.seed == 0 else 0.8

    outcomes = outcomes_of(study, tmp_path)
    table = study_table(study, with_scores(outcomes, student, lambda one: 0.9))
    assert table.warnings == (
        f"2 of 12 students are no better on mrpc {LEARNED}their scores say nothing about methods.",
    )
    table = study_table(study, with_scores(outcomes, lambda one: 0.8, lambda one: 0.4 if one.cell.seed else 0.9))
    assert table.warnings[0].startswith(f"The teacher of seed 1 is no better on mrpc {LEARNED}their scores")
    assert study_table(study, outcomes).warnings == ()


def test_the_page_warns_first_escapes_all_and_has_scores_before_sizes(tmp_path):
    study = study_of(tmp_path, tasks={"mrpc": TASKS["mrpc"]}, methods={"<b>": {"schedule": {"kind": "conventional"}}})
    outcomes = with_scores(outcomes_of(study, tmp_path), lambda one: 0.4, lambda one: 0.4)
    table = study_table(study, outcomes)
    page = write_study(LOCAL, tmp_path, study, table, Findings(), outcomes).read_text()
    (warning,) = table.warnings
    assert page.index('<p class="warning">') < page.index(warning) < page.index("<h2>Table</h2>")
    assert page.count(warning) == 1
    headings = re.findall(r"<th[^>]*>([^<]*)</th>", page)
    assert headings[:6] == ["Method", "MRPC", "Hours ratio", "MACs", "FLOPs ratio", "Encoder params"]
    assert "&lt;b&gt;10%" in page
    assert "<b>" not in page
