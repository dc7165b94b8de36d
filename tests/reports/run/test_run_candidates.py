"""Candidates, the lambda scan and trials of one run."""

import io

import pytest
from reports_builder import run_result
from rich.console import Console
from rich.table import Table

from minidisc_ray.reports.run.candidates import (
    candidate_rows,
    candidate_table,
    lambda_scan_line,
    trial_rows,
    trial_table,
)


def shown(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None).print(table)
    return stream.getvalue()


def test_candidates_with_the_chosen_one_marked():
    rows = candidate_rows(run_result("minidisc"))
    assert [row.candidate.scale_percent for row in rows] == [55, 40, 25]
    assert [row.chosen for row in rows] == [False, True, False]
    assert rows[1].candidate.lambda_tradeoff == pytest.approx(0.865 + 0.2 * 0.6)
    assert not rows[1].candidate.trained


def test_candidate_table_fits():
    text = shown(candidate_table(run_result("minidisc", selection_split="rows [b]held out[/b]")))
    assert "…" not in text
    assert "[b]held out[/b]" in text
    for word in ("86.5", "0.9850", "evaluated", "40.0%", "chosen"):
        assert word in text


def test_lambda_scan():
    assert lambda_scan_line(run_result("minidisc")).startswith("λ 0.1 → 40%, 0.2 → 40%")
    assert lambda_scan_line(run_result()) == ""


def test_trials_with_the_best_marked_and_the_reason_of_a_failure():
    result = run_result("maxidisc")
    assert [row.best for row in trial_rows(result)] == [False, True, False]
    text = shown(trial_table(result))
    assert "…" not in text
    for word in ("out of memory", "best", "failed", "85.0", "Core-hours"):
        assert word in text
