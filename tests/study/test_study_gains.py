"""Gains from generated results with known scores: which runs are paired, and what changes with gap and rows."""

import json
import math
import re
from dataclasses import replace

import pytest
from reports_builder import result_of
from storage_kit import LOCAL
from study_kit import cells_of, study_of

from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.evaluation.intervals import Resampling
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.study.conclusions import conclusions
from minidisc_ray.reports.study.finding_notes import finding_notes
from minidisc_ray.reports.study.findings import finding_tables
from minidisc_ray.reports.study.gains import gain_table, rows_table
from minidisc_ray.reports.study.page import write_study
from minidisc_ray.reports.study.table import study_table
from minidisc_ray.run_files.result import SplitRecord
from minidisc_ray.study.answers import FinishedRun
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.findings import Findings
from minidisc_ray.study.gains import gains_of, trends_of

FEW = Resampling(num_replicates=300)
ROWS = {"few": 128, "more": 256, "most": 512}
TASKS = {name: {"task": "builtin", "data": {"train_rows": rows, "validation_rows": 64}} for name, rows in ROWS.items()}
# The gap falls with rows and with the seed; TA gains half of it, MiniDisc always two points.
GAPS = {"few": 0.3, "more": 0.2, "most": 0.1}


def score_of(method, task, seed):
    gap = GAPS[task] - seed / 100
    return {"LTSD": 0.9 - gap, "TA": 0.9 - gap / 2, "MiniDisc": 0.92 - gap}[method]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyConfig:
    return study_of(tmp_path_factory.mktemp("study"), tasks=TASKS, scales=[10], seeds=[0, 1, 2])


@pytest.fixture(scope="module")
def runs(study, tmp_path_factory) -> list[FinishedRun]:
    folder = tmp_path_factory.mktemp("gains")
    found, prepared = [], {}
    for cell in cells_of(study, folder / "runs"):
        score = score_of(cell.method, cell.task, cell.seed)
        splits = {"train": SplitRecord(rows=ROWS[cell.task], truncated_rows=0)}
        # A run knows nothing of the study's names of tasks.
        result = result_of(cell, score, 1.0, splits=splits).model_copy(update={"task": "builtin"})
        if (cell.task, cell.method) not in prepared:
            prepared[cell.task, cell.method] = prepare(cell.config)
        found.append(FinishedRun(cell, prepared[cell.task, cell.method], result))
    return found


@pytest.fixture(scope="module")
def gains(runs):
    return gains_of(runs)


def findings_with(gains):
    return Findings(gains=gains, gain_trends=tuple(trends_of(gains, FEW)))


def test_each_run_with_an_assistant_stands_beside_its_conventional_run(gains):
    assert len(gains) == 3 * 3 * 2
    for gain in gains:
        gap = GAPS[gain.task] - gain.seed / 100
        assert gain.gap == pytest.approx(gap)
        assert gain.gain == pytest.approx(gap / 2 if gain.method == "TA" else 0.02)
        assert (gain.train_rows, gain.scale_percent, gain.teacher) == (ROWS[gain.task], 10, None)
        assert gain.teacher_score == pytest.approx(0.9)
        assert gain.same_data == "builtin", "the three tasks differ in training rows alone"


def test_the_conventional_method_may_be_named_and_a_run_without_one_has_no_gain(runs, gains):
    assert gains_of(runs, "LTSD") == gains
    assert gains_of(runs, "TA")[0].gain != gains[0].gain
    without = [run for run in runs if (run.cell.method, run.cell.task, run.cell.seed) != ("LTSD", "few", 1)]
    assert [gain for gain in gains if (gain.task, gain.seed) != ("few", 1)] == list(gains_of(without))
    assert gains_of([run for run in runs if isinstance(run.cell.config.schedule, ConventionalConfig)]) == ()


def test_data_that_differ_in_more_than_rows_are_not_the_same(runs):
    longer = [
        run.cell._replace(config=run.cell.config.model_copy(update={"data": data}))
        for run in runs
        if run.cell.task == "most"
        for data in [run.cell.config.data.model_copy(update={"max_length": 16})]
    ]
    others = [run for run in runs if run.cell.task != "most"]
    moved = [
        FinishedRun(cell, run.prepared, run.result) for cell, run in zip(longer, runs[-len(longer) :], strict=True)
    ]
    found = {gain.task: gain.same_data for gain in gains_of([*others, *moved])}
    assert found == {"few": "builtin", "more": "builtin", "most": None}


def test_trends_are_found_where_they_are(gains):
    found = {(each.method, each.against): each for each in trends_of(gains, FEW)}
    assert set(found) == {("TA", "gap"), ("TA", "training rows")}, "a gain that is the same everywhere has no trend"
    gap, rows = found["TA", "gap"].trend, found["TA", "training rows"].trend
    assert (gap.num_points, gap.num_clusters) == (9, 3)
    assert (gap.spearman, gap.slope) == (pytest.approx(1), pytest.approx(0.5))
    assert gap.excludes_zero
    assert rows.spearman < -0.9
    # From 128 to 512 rows, 0.6 decades, the gain falls by ten points.
    assert rows.slope == pytest.approx(-0.1 / math.log10(4))
    assert not list(trends_of([gain for gain in gains if gain.task != "few"], FEW)), "six points are too few"


def test_a_teacher_that_learned_nothing_has_no_gap_to_close(runs, gains):
    dead = [
        FinishedRun(run.cell, run.prepared, run.result.model_copy(update={"majority_metrics": {"f1": 0.9}}))
        if run.cell.task == "few"
        else run
        for run in runs
    ]
    found = gains_of(dead)
    assert {gain.task for gain in found if not gain.teacher_has_learned} == {"few"}
    assert len(found) == len(gains)
    assert not list(trends_of(found, FEW)), "six points are left"
    assert finding_notes(Findings(gains=found), 3)[0].startswith("6 of 18 gains are in no trend and no figure")


def test_a_conventional_student_that_learned_nothing_is_in_no_trend_over_the_gap(runs, gains):
    plain = {run.cell.seed: run.result for run in runs if (run.cell.method, run.cell.task) == ("LTSD", "few")}
    failed = plain[0].student.validation_metrics["f1"]
    moved = [
        FinishedRun(run.cell, run.prepared, run.result.model_copy(update={"majority_metrics": {"f1": failed}}))
        if (run.cell.task, run.cell.seed) == ("few", 0)
        else run
        for run in runs
    ]
    found = gains_of(moved)
    assert {(gain.task, gain.seed) for gain in found if not gain.conventional_has_learned} == {("few", 0)}
    assert all(gain.teacher_has_learned for gain in found)
    trends = {(each.method, each.against): each.trend.num_points for each in trends_of(found, FEW)}
    assert trends == {("TA", "gap"): 8, ("TA", "training rows"): 9}
    (note,) = (note for note in finding_notes(Findings(gains=found), 3) if "over the gap" in note)
    assert note.startswith("2 of 18 gains are in no trend")


def test_tables_and_sentences_say_what_was_found(gains):
    findings = findings_with(gains)
    (table,) = finding_tables(findings, 3)
    assert [cell.text for cell in table.cells[0]] == [
        "TA", "gap", "9", "3", "+1.00", "+1.00 to +1.00", "+0.50 (+0.50 to +0.50)",
    ]  # fmt: skip
    first, second = conclusions(findings)
    assert first == (
        "Gain of an assistant with the gap, by Spearman's correlation, rises: TA (+1.00, +1.00 to +1.00, 9 points)."
    )
    assert second.startswith("Gain of an assistant with training rows of builtin, by Spearman's correlation, falls: TA")
    assert any(note.startswith("Gain: the student's score minus") for note in finding_notes(findings, 3))


def test_means_by_training_rows_have_a_table(gains):
    table = rows_table(findings_with(gains))
    assert table is not None
    assert [column.heading for column in table.columns] == [
        "Method", "Data", "Training rows", "Gap", "Gain", "Each seed",
    ]  # fmt: skip
    texts = [[cell.text for cell in row] for row in table.cells]
    assert texts[:3] == [
        ["TA", "builtin", "128", "+29.0", "+14.5", "+15.0, +14.5, +14.0"],
        ["TA", "builtin", "256", "+19.0", "+9.5", "+10.0, +9.5, +9.0"],
        ["TA", "builtin", "512", "+9.0", "+4.5", "+5.0, +4.5, +4.0"],
    ]
    assert [row[:3] for row in texts[3:]] == [["MiniDisc", "builtin", rows] for rows in ("128", "256", "512")]
    assert rows_table(findings_with([replace(gain, same_data=None) for gain in gains])) is None


def test_the_page_lists_every_gain(gains):
    table = gain_table(findings_with(gains))
    assert table is not None
    assert [column.heading for column in table.columns] == [
        "Task", "Seed", "Training rows", "Teacher's score", "Conventional", "Gap", "Method", "Student", "Gain",
    ]  # fmt: skip
    texts = [[cell.text for cell in row] for row in table.cells]
    assert ["few", "0", "128", "90.0", "60.0", "+30.0", "TA", "75.0", "+15.0"] in texts
    assert len(texts) == len(gains)
    assert gain_table(Findings()) is None


def test_the_page_the_json_and_the_figures_have_them(study, runs, gains, tmp_path):
    # The figures of one run of each method are enough: those of gains are drawn from the findings.
    kept = [run for run in runs if (run.cell.task, run.cell.seed) == ("few", 0)]
    outcomes = [Outcome(run.cell, run.result.name, run.result, None) for run in kept]
    table, folder = study_table(study, outcomes), tmp_path / "study-small"
    page = write_study(LOCAL, folder, study, table, findings_with(gains), outcomes).read_text(encoding="utf-8")
    for kind in ("the gap", "training rows"):
        image = re.search(
            rf'<img src="data:image/svg\+xml;base64,[^"]+" alt="Chart: Gain of an assistant against {kind}', page
        )
        assert image is not None, kind
    assert "The gain of an assistant, run by run" in page
    assert "rises: TA (+1.00, +1.00 to +1.00, 9 points)" in page
    written = json.loads((folder / "study.json").read_text(encoding="utf-8"))["findings"]
    assert len(written["gains"]) == len(gains)
    assert written["gains"][0] | {"gap": 0.3} == {
        "teacher": None, "scale_percent": 10, "task": "few", "seed": 0, "train_rows": 128, "teacher_score": 0.9,
        "conventional_score": gains[0].conventional_score, "gap": 0.3, "method": "TA", "score": gains[0].score,
        "gain": gains[0].gain, "teacher_has_learned": True, "conventional_has_learned": True, "same_data": "builtin",
    }  # fmt: skip
    assert {trend["against"] for trend in written["gain_trends"]} == {"gap", "training rows"}
    assert "Gain by training rows" in page
    assert "Gain by training rows" in (folder / "table.md").read_text(encoding="utf-8")
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"gain-gap-10pc.svg", "gain-gap-10pc.png", "gain-rows-builtin-10pc.svg"} <= names
    assert {"cost-few-10pc.svg", "tradeoff-few-10pc.svg"} <= names, "figures have the study's own names of tasks"
    assert not [name for name in names if name.startswith(("cost-builtin", "tradeoff-builtin"))]
    assert "run by run" not in (folder / "table.md").read_text(encoding="utf-8"), "the terminal stays short"
