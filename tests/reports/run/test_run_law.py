"""What ``plan`` says of the law's assistant, and its warning where none is as large as the law asks for."""

import pytest
from pipeline_kit import prepared_run

from minidisc_ray.reports.run.law import law_sentence, law_warning
from minidisc_ray.reports.run.plan import plan_report


def law(tmp_path, *overrides):
    return prepared_run(tmp_path, "conventional", ("schedule={kind: law}", *overrides))


@pytest.mark.parametrize("schedule", ["{kind: law}", "{kind: auto, then: {kind: law}}"])
def test_the_plan_names_the_laws_assistant_and_its_real_size(tmp_path, schedule):
    run = prepared_run(tmp_path, "conventional", (f"schedule={schedule}", "student.scale_percent=20"))
    sentence = law_sentence(run)
    percent = run.config.full_schedule.assistant_percent
    assert sentence.startswith(f"law: {percent}% is the candidate nearest to 2.5 times the student's encoder: 2.")
    assert sentence in plan_report(run).parts
    assert law_warning(run) is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("student.scale_percent=60",), "asks for an assistant of 2.5 times the student's encoder, and its nearest "),
        (("schedule.times_student=100",), "asks for an assistant of 100 times the student's encoder"),
        (("schedule.scales=[90]", "student.scale_percent=20"), "candidate, 90%, has "),
        # One layer of four, cut from the assistant, is far smaller than one cut from the teacher.
        (
            ("teacher.num_layers=4", "student={kind: layers, num_layers: 1, width_percent: 100}"),
            "and its nearest candidate",
        ),
    ],
)
def test_a_law_without_a_fitting_candidate_is_said(tmp_path, overrides, words):
    run = law(tmp_path, *overrides)
    assert words in law_warning(run)
    assert f"warning: {law_warning(run)}" in plan_report(run).parts


def test_other_schedules_have_no_such_line(tmp_path):
    run = prepared_run(tmp_path, "minidisc")
    assert (law_sentence(run), law_warning(run)) == (None, None)
