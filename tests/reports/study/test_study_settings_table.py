"""The settings that a grid's runs chose, in a study's table, files and notes; what the search cost, by hand."""

import csv
import io
import json

import pytest
from reports_builder import TASKS, cost, model, outcomes_of, result_of
from study_kit import study_of

from minidisc_ray.configs.study.base import SEARCH_COLUMNS
from minidisc_ray.configs.study.study import grid_runs
from minidisc_ray.reports.study.render import render_study, study_tables
from minidisc_ray.reports.study.table import study_table
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.settings import choices_of

GRID = {"values": {"distil.learning_rate": [1e-4, 3e-4], "distil.batch_size": [16, 32]}}
# Selection scores of the four settings, and their hours; the best setting is the third.
SCORES, HOURS = (0.6, 0.7, 0.8, 0.75), (2.0, 1.0, 3.0, 1.5)


@pytest.fixture
def study(tmp_path):
    return study_of(tmp_path, tasks=TASKS, scales=[10], grid=GRID)


def searched(study, tmp_path):
    found = []
    for cell in grid_runs(study, str(tmp_path)):
        metric = "accuracy" if cell.task == "mnli" else "f1"
        student = model(10, 0.8, selection_metrics={metric: SCORES[cell.setting]})
        hours = HOURS[cell.setting] * (2 if cell.method == "TA" else 1)
        name = f"{cell.task}-{cell.method}-{cell.setting}"
        result = result_of(cell, 0.8, 1.0, student=student, name=name, cost=cost(hours, hours * 1e15))
        found.append(Outcome(cell, name, result, None))
    return choices_of(found)


@pytest.fixture
def table(study, tmp_path):
    return study_table(study, outcomes_of(study, tmp_path), searched(study, tmp_path))


def test_the_search_is_charged_in_columns_of_its_own(table):
    rows = {row.label: row for row in table.blocks[0].rows}
    # 2 + 1 + 1.5 hours of the settings that were not chosen, of TA twice that; one LTSD run takes 2 hours, 4e15 FLOPs.
    assert rows["LTSD10%"].search_device_hours_ratio == pytest.approx(2.25)
    assert rows["TA10%"].search_device_hours_ratio == pytest.approx(4.5)
    assert rows["LTSD10%"].search_flops_ratio == pytest.approx(4.5 / 4)
    assert (rows["LTSD10%"].device_hours_ratio, rows["TA10%"].device_hours_ratio) == (1.0, 1.0), "without the search"
    assert rows["Teacher"].search_flops_ratio is None
    (shown,) = study_tables(table)
    assert [column.heading for column in shown.columns][-2:] == ["Search hours", "Search FLOPs"]
    (row, *_) = [each for each in csv.DictReader(io.StringIO(render_study(table, "csv"))) if each["label"] == "TA10%"]
    assert float(row["search_device_hours_ratio"]) == pytest.approx(4.5)


def test_a_table_says_what_was_chosen_by_which_scores(table):
    (shown,) = table.settings_tables
    assert shown.title == (
        "Chosen settings: distil.learning_rate / distil.batch_size; scores on the selection rows, seed 0"
    )
    headings = [column.heading for column in shown.columns]
    assert headings == ["Method", "Task", "Chosen", "0.0001 / 16", "0.0001 / 32", "0.0003 / 16", "0.0003 / 32"]
    assert [cell.text for cell in shown.cells[0]] == [
        "LTSD10%", "mrpc", "0.0003 / 16", "60.0", "70.0", "80.0", "75.0",
    ]  # fmt: skip
    assert len(shown.rows) == 3 * 2
    for format_ in ("table", "md"):
        assert "0.0003 / 16" in render_study(table, format_, width=200)
    entry = json.loads(render_study(table, "json"))["grid"][0]
    assert (entry["method"], entry["task"], entry["seed"]) == ("LTSD", "mrpc", 0)
    assert entry["chosen"] == {"distil.learning_rate": 3e-4, "distil.batch_size": 16}
    assert [run["selection_score"] for run in entry["runs"]] == list(SCORES)
    assert [run["device_hours"] for run in entry["runs"]] == list(HOURS)
    notes = " ".join(table.notes)
    assert "the one whose student scores best on the selection rows with seed 0 is used for all seeds" in notes
    assert "Search hours and Search FLOPs: of the finished runs of the other settings, each charged whole" in notes


def test_what_failed_or_is_open_shows_in_the_table_of_settings(study, tmp_path):
    choices = searched(study, tmp_path)
    runs = [run for choice in choices for run in choice.runs]
    failed = [Outcome(run.cell, run.name, None, "out of memory") if run.cell.setting == 2 else run for run in runs]
    is_open = [Outcome(run.cell, run.name, None, None) if run.name == "mrpc-TA-0" else run for run in failed]
    table = study_table(study, outcomes_of(study, tmp_path), choices_of(is_open))
    texts = {
        (cells[0].text, cells[1].text): [cell.text for cell in cells[2:]] for cells in table.settings_tables[0].cells
    }
    assert texts["LTSD10%", "mrpc"] == ["0.0003 / 32", "60.0", "70.0", "failed", "75.0"]
    assert texts["TA10%", "mrpc"] == ["\N{EN DASH}", "\N{EN DASH}", "70.0", "failed", "75.0"]
    assert table.failed["mrpc-LTSD-2"] == "out of memory"
    assert "mrpc-TA-0" in table.unfinished


def test_a_study_without_a_grid_has_none_of_it(tmp_path):
    study = study_of(tmp_path, tasks=TASKS, scales=[10])
    table = study_table(study, outcomes_of(study, tmp_path))
    assert table.settings_tables == ()
    assert "grid" not in json.loads(render_study(table, "json"))
    assert not set(SEARCH_COLUMNS) & set(next(csv.reader(io.StringIO(render_study(table, "csv")))))


def test_a_method_with_fewer_seeds_is_named(tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "TA": {"schedule": {"kind": "assistant"}}}
    methods["TA"]["only"] = {"seeds": [0]}
    study = study_of(tmp_path, tasks=TASKS, scales=[10], methods=methods)
    table = study_table(study, outcomes_of(study, tmp_path))
    assert "TA runs with 1 seed of 2: 0." in table.notes
