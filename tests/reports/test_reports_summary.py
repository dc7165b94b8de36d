"""The summary of several methods: scores with intervals, prices, and the sentence that follows from them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_kit import prepared_run, random_teacher
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.reports.comparison.summary import summarise, summary_table
from minidisc_ray.reports.tables import terminal_text
from minidisc_ray.reports.words import ratio_text
from minidisc_ray.run_files.predictions import predictions_path, read_predictions, write_predictions
from minidisc_ray.study.answers import FinishedRun


def finished(storage: Path, schedule: str, overrides=()) -> FinishedRun:
    run = prepared_run(storage, schedule, overrides)
    result = run_in_process(run)
    return FinishedRun(Cell(None, result.task, result.method, 10, 0, run.config), run, result)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[FinishedRun]:
    storage = tmp_path_factory.mktemp("runs")
    teacher = random_teacher(tmp_path_factory.mktemp("teacher"))
    return [finished(storage, schedule, teacher) for schedule in ("conventional", "assistant", "minidisc")]


def test_a_summary_has_what_the_results_have(runs):
    summary = summarise(runs)
    assert [row.method for row in summary.rows] == ["Teacher", *(run.result.label for run in runs)]
    teacher, *students = summary.rows
    assert teacher.price is None
    assert teacher.score.mean == pytest.approx(runs[0].result.teacher.validation_metrics["accuracy"])
    for row, run in zip(students, runs, strict=True):
        assert row.score.mean == pytest.approx(run.result.student.validation_metrics["accuracy"])
        assert row.score.low <= row.score.mean <= row.score.high
        assert row.price == pytest.approx(run.result.cost.flops / runs[0].result.cost.flops)
    assert students[0].price == 1.0


def test_the_sentence_says_of_each_other_method_who_is_better_and_at_what_price(runs):
    summary = summarise(runs)
    ours, *others = runs[::-1]
    assert summary.finding.startswith(f"{ours.result.label} {summary.verdicts[0]} Conventional (")
    assert len(summary.verdicts) == len(others)
    for other in others:
        assert other.result.label in summary.finding
        ratio = ours.result.cost.flops / other.result.cost.flops
        assert f"at {ratio_text(ratio)} its FLOPs" in summary.finding
    text = terminal_text([summary_table(summary)], 100)
    for row in summary.rows:
        assert f"{100 * row.score.low:.1f} to {100 * row.score.high:.1f}" in text


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [(60, 30, "beats"), (30, 60, "loses to"), (33, 32, "draws with"), (40, 40, "draws with")],
)
def test_a_difference_counts_where_its_interval_leaves_out_zero(runs, tmp_path, ours, theirs, verdict):
    """By the rows, of 64, that the students answer right: in another order each, so that rows differ."""
    shutil.copytree(runs[0].prepared.storage.root, tmp_path / "runs")
    copies = []
    for run, right in zip(runs, (theirs, theirs, ours), strict=True):
        prepared = replace(
            run.prepared, config=run.prepared.config.model_copy(update={"storage": str(tmp_path / "runs")})
        )
        copies.append(replace(run, prepared=prepared))
        labels = prepared.splits.validation["validation"].labels
        is_right = np.arange(64) < right if right == theirs else np.arange(64) >= 64 - right
        path = predictions_path(prepared.run_folder, "main", "student")
        logits = np.eye(2, dtype=np.float32)[np.where(is_right, labels, 1 - labels)]
        write_predictions(LOCAL, path, read_predictions(path) | {"validation/validation": logits})
    assert summarise(copies).verdicts == (verdict, verdict)


def test_without_the_answers_it_says_what_is_missing(runs, tmp_path):
    run = finished(tmp_path, "conventional", ("seed=3",))
    shutil.rmtree(run.prepared.run_folder / "predictions")
    with pytest.raises(UserError, match="no answers were kept row by row"):
        summarise([run])
