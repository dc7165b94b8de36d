"""Candidates, the lambda scan and trials of one run."""

import pytest
from reports_builder import run_result

from minidisc_ray.reports.run.candidates import candidate_table, lambda_scan_line, trial_table
from minidisc_ray.reports.run.race import race_table
from minidisc_ray.reports.tables import terminal_text
from minidisc_ray.training.race_check import RaceCheck, race_event


def test_candidates_with_the_chosen_one_marked():
    table = candidate_table(run_result("minidisc"))
    scales, tradeoffs, trained = ([cells[place] for cells in table.cells] for place in (0, 2, 4))
    assert scales == [(55, "55%"), (40, "40%"), (25, "25%")]
    assert [table.is_marked(row) for row in table.rows] == [False, True, False]
    assert tradeoffs[1] == (pytest.approx(0.865 + 0.2 * 0.6), "0.9850")
    assert trained[1].text == "evaluated"


def test_candidate_table_fits():
    text = terminal_text([candidate_table(run_result("minidisc", selection_split="rows [b]held out[/b]"))], 100)
    assert "…" not in text
    assert "[b]held out[/b]" in text
    for word in ("86.5", "0.9850", "evaluated", "40.0%", "chosen"):
        assert word in text


def test_lambda_scan():
    assert lambda_scan_line(run_result("minidisc")).startswith("λ 0.1 → 40%, 0.2 → 40%")
    assert lambda_scan_line(run_result()) == ""


def test_trials_with_the_best_marked_and_the_reason_of_a_failure():
    result = run_result("maxidisc")
    table = trial_table(result)
    assert [table.is_marked(row) for row in table.rows] == [False, True, False]
    text = terminal_text([table], 100)
    assert "…" not in text
    for word in ("out of memory", "best", "failed", "85.0", "Useful", "core-"):
        assert word in text


def test_a_race_lists_candidates_that_were_never_evaluated():
    check = RaceCheck(
        step=9, num_rows=128, alive=(40, 25), ruled_out=(95, 70, 55), metrics={70: 0.7, 40: 0.8, 25: 0.8, 10: 0.5},
        rises=True, tradeoffs={70: 0.76, 40: 0.92, 25: 0.95}, probabilities={70: 0.0, 40: 0.4, 25: 0.6},
        teacher_metric=0.9, teacher_probability=0.0, has_learned=True, favourite=25,
    )  # fmt: skip
    table = race_table(run_result("minidisc", race=(check,)))
    (row,) = table.cells
    assert row[3].text == "95% (not evaluated), 70%, 55% (not evaluated)"
    assert race_event(check) == (
        "step 9: out of the race: 95% (not evaluated), 70%, 55% (not evaluated); still in it: 40%, 25%"
    )
