"""Held hours of a run as ``ls`` and ``status`` show them, while it runs, is interrupted, resumes and ends."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from pipeline_kit import Interrupted, interrupt, prepared_run
from reports_builder import run_result

from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.reports.held import held_by_result, teacher_hours
from minidisc_ray.reports.run.page import num_attempts, write_report
from minidisc_ray.reports.storage.listing import listing
from minidisc_ray.reports.storage.status import status
from minidisc_ray.reports.storage.views import BY_RUN, BY_TRIAL
from minidisc_ray.run_files.progress import read_progress


@pytest.mark.parametrize("stage", ["teacher", "sandwich"])
def test_status_and_ls_agree_and_hours_never_fall_through_a_resume(tmp_path, monkeypatch, stage):
    prepared = prepared_run(tmp_path, "minidisc", ("distil.num_epochs=2",))
    listed, shown, reported = [], [], []
    write = Context.progress

    def progress(self, *arguments, **options):
        write(self, *arguments, **options)
        listed.append(listing(tmp_path)[0])
        shown.append(status(tmp_path)[0])
        reported.extend(one.device_hours for one in read_progress(prepared.run_folder))

    with monkeypatch.context() as patch:
        patch.setattr(Context, "progress", progress)
        interrupt(patch, stage, epoch=1)
        with pytest.raises(Interrupted):
            run_in_process(prepared)
    num_before = len(listed)
    interrupted_at = listing(tmp_path)[0].held_hours
    assert interrupted_at > 0
    with monkeypatch.context() as patch:
        patch.setattr(Context, "progress", progress)
        result = run_in_process(prepared)
    listed.append(listing(tmp_path)[0])
    shown.append(status(tmp_path)[0])

    hours = [entry.held_hours or 0.0 for both in zip(listed, shown, strict=True) for entry in both]
    falls = [earlier - later for earlier, later in pairwise(hours)]
    # Sums of the same parts in another order differ in their last bits.
    assert max(falls) < 1e-12, "the two agree, but for a beat of the timer between them"
    assert hours[2 * num_before] >= interrupted_at
    assert shown[-1].held_hours == listed[-1].held_hours
    assert reported == sorted(reported), "the progress file counts earlier attempts too"
    assert hours[-1] == pytest.approx(sum(a.device_hours for a in _holds(prepared)), rel=0.05)
    # What the last line of the run prints: without the start-up of either attempt.
    assert listed[-1].teacher_hours == pytest.approx(result.cost.teacher_device_hours, rel=0.02)
    first = min(attempt.started_at for attempt in prepared.ledger.attempts())
    assert datetime.fromisoformat(result.started_at) == datetime.fromtimestamp(int(first), UTC)
    assert num_attempts(result) == 2
    page = write_report(prepared.storage, prepared.run_folder, result).read_text()
    assert f"started {result.started_at}, finished {result.finished_at}, in 2 attempts" in page
    assert 0 < listed[-1].teacher_hours < listed[-1].held_hours
    assert (listed[-1].state, shown[-1].status) == ("finished", "finished")
    assert teacher_hours(result.cost) == listed[-1].teacher_hours, "the line that run ends with, to the last digit"


def _holds(prepared):
    return [attempt for attempt in prepared.ledger.attempts() if attempt.kind == "hold"]


def test_a_run_that_reuses_a_teacher_holds_nothing_for_it(tmp_path):
    run_in_process(prepared_run(tmp_path, "conventional"))
    second = run_in_process(prepared_run(tmp_path, "minidisc"))
    assert second.cost.stages[0].reused
    held = held_by_result(second.cost)
    assert held.teacher_hours == 0
    assert teacher_hours(second.cost) == second.cost.teacher_device_hours > 0
    assert 0 < held.held_hours < second.cost.priced_device_hours + second.cost.teacher_device_hours


def test_results_without_attempts_count_what_they_are_charged():
    cost = run_result("minidisc", hours=2.0).cost
    assert cost.attempts == ()
    held = held_by_result(cost)
    assert (held.held_hours, held.teacher_hours) == (pytest.approx(2.0 + 0.0123 + 1.5), 1.5)


def test_the_heading_names_the_unit_where_all_runs_have_the_same(tmp_path):
    run_in_process(prepared_run(tmp_path, "conventional"))
    for view in (BY_RUN, BY_TRIAL):
        headings = [column.heading for column in view.table(view.find(tmp_path)).columns]
        assert "Held core-hours" in headings
        assert view.table([]).columns[headings.index("Held core-hours")].heading == "Held device-hours"
