"""compare(): averages, deviations and ratios by hand, and what may not stand in one table."""

import pandas as pd
import pytest
from comparison_kit import row
from reports_builder import model, run_result, several_seeds

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.comparison.columns import comparison_tables
from minidisc_ray.reports.comparison.render import footnotes
from minidisc_ray.reports.comparison.table import compare


def test_rows_are_teacher_then_methods_then_majority():
    frame = compare(several_seeds())
    assert list(frame["method"]) == ["Teacher", "Conventional", "TA (40%)", "MiniDisc", "MaxiDisc", "Majority class"]
    assert list(frame.columns[:10]) == [
        "task", "method", "objective", "student_scale_percent", "seeds", "encoder_parameters", "total_parameters",
        "macs_at_128", "metric_name", "metric_mean",
    ]  # fmt: skip
    assert set(frame["task"]) == {"mrpc"}


def test_mean_and_sample_deviation():
    conventional = row(compare(several_seeds()), "Conventional")
    assert conventional["seeds"] == 3
    assert conventional["metric_mean"] == pytest.approx(0.81)
    assert conventional["metric_std"] == pytest.approx(0.01)  # of 0.80, 0.81, 0.82 with n - 1
    assert conventional["accuracy_mean"] == pytest.approx(0.75)
    assert conventional["device_hours"] == pytest.approx(3.0)


def test_one_seed_has_no_deviation():
    assert pd.isna(row(compare([run_result()]), "Conventional")["metric_std"])


def test_ratio_is_the_mean_over_shared_seeds():
    frame = compare(several_seeds())
    minidisc = row(frame, "MiniDisc")
    assert minidisc["device_hours_ratio"] == pytest.approx((8 / 2 + 8 / 3) / 2)  # seed 2 has no MiniDisc run
    assert minidisc["training_flops_ratio"] == pytest.approx((9 / 2 + 9 / 3) / 2)
    assert row(frame, "Conventional")["device_hours_ratio"] == 1.0
    assert pd.isna(row(frame, "Teacher")["device_hours_ratio"])


def test_flops_ratio_has_evaluation_in_it():
    minidisc = row(compare(several_seeds()), "MiniDisc")
    assert minidisc["evaluation_flops"] == pytest.approx(8e14)
    assert minidisc["flops_ratio"] == pytest.approx((9.8 / 2.2 + 9.8 / 3.3) / 2)
    assert minidisc["training_flops_ratio"] == pytest.approx((9 / 2 + 9 / 3) / 2)


def older(run):
    """A result of before evaluation was counted, and of train's majority."""
    cost = run.cost.model_copy(update={"evaluation_flops": None})
    return run.model_copy(update={"cost": cost, "majority_of": "train", "closed_form_evaluation_flops": None})


def test_older_results_stand_beside_new_ones():
    """A ratio with one of them is of training alone, and the table says so, as it says whose majority it is."""
    runs = several_seeds()
    frame = compare([older(run) if run.method == "conventional" else run for run in runs])
    minidisc = row(frame, "MiniDisc")
    assert minidisc["flops_ratio"] == minidisc["training_flops_ratio"]
    assert pd.isna(row(frame, "Conventional")["evaluation_flops"])
    notes = footnotes(frame)
    message = "Older results (Conventional) did not count evaluation: FLOPs ratios with them are of training alone."
    assert message in notes
    assert "Majority class of mrpc: the most common class of train, as in older results." in notes
    new = footnotes(compare(runs))
    assert "Majority class: always answering the most common class of the rows that are scored." in new
    assert not any("older results" in note.lower() for note in new)


def test_two_teachers_have_two_rows():
    """Runs of another fine-tuning have another teacher: one row for both would show the score of one of them."""
    good = several_seeds()
    poor = [
        run.model_copy(
            update={
                "name": f"poor-{run.name}",
                "setting_digest": f"poor{run.setting_digest}",
                "method_digest": f"poor{run.method_digest}",
                "teacher": model(100, 0.5 + run.seed / 100),
                "teacher_warning": "the teacher may be at chance",
            }
        )
        for run in good
    ]
    frame = compare([*good, *poor])
    rows = frame[frame["method"].str.startswith("Teacher")]
    assert list(rows["metric_mean"].round(3)) == [0.91, 0.51]
    assert list(rows["method"]) == ["Teacher [settin]", "Teacher [poorse]"]
    assert list(rows["teacher_warning"].notna()) == [False, True]
    assert "poor-" not in rows.iloc[0]["runs"]
    assert "On mrpc, Teacher [poorse]: the teacher may be at chance." in footnotes(frame)


def test_a_teacher_that_may_be_at_chance_is_reported_below_the_table():
    warned = [run.model_copy(update={"teacher_warning": "the teacher may be at chance"}) for run in several_seeds()]
    assert "On mrpc the teacher may be at chance." in footnotes(compare(warned))


def test_ratio_is_empty_without_its_conventional_run():
    other_seed = compare([run_result(seed=1), run_result("minidisc", seed=0)])
    other_scale = compare([run_result(scale=5), run_result("minidisc", scale=10)])
    for frame in (other_seed, other_scale):
        assert pd.isna(row(frame, "MiniDisc")["device_hours_ratio"])


def test_hours_of_different_units_have_no_ratio():
    run = run_result("minidisc")
    on_gpu = run.model_copy(update={"cost": run.cost.model_copy(update={"device_unit": "GPU-hours"})})
    minidisc = row(compare([run_result(), on_gpu]), "MiniDisc")
    assert pd.isna(minidisc["device_hours_ratio"])
    assert minidisc["training_flops_ratio"] == 1.0


def test_teacher_counts_once_per_seed():
    teacher = row(compare(several_seeds()), "Teacher")
    assert teacher["seeds"] == 3
    assert teacher["metric_mean"] == pytest.approx(0.91)
    assert teacher["metric_std"] == pytest.approx(0.01)
    assert teacher["device_hours"] == teacher["teacher_device_hours"] == 1.5
    assert teacher["total_parameters"] == 109_483_010


def test_majority_row_has_metrics_alone():
    majority = row(compare(several_seeds()), "Majority class")
    assert majority["metric_mean"] == 0.812
    assert majority["accuracy_mean"] == 0.684
    assert pd.isna(majority["total_parameters"])
    assert pd.isna(majority["metric_std"])


def test_assistants_chosen_in_seed_order():
    frame = compare(list(reversed(several_seeds())))
    assert row(frame, "MiniDisc")["assistant"] == "40/35"
    assert row(frame, "MaxiDisc")["assistant"] == "40"
    assert row(frame, "Conventional")["assistant"] == ""


def test_assistants_at_two_fixed_scales_are_two_rows():
    frame = compare([run_result("assistant", assistant=40), run_result("assistant", assistant=70)])
    assert list(frame["method"]) == ["Teacher", "TA (70%)", "TA (40%)", "Majority class"]


def test_every_task_has_its_own_teacher_and_digest():
    frame = compare([run_result(), run_result(task="rte", data_digest="another")])
    assert list(frame["task"]) == ["mrpc"] * 3 + ["rte"] * 3


def test_tasks_of_different_rows_have_tables_of_their_own():
    other = {"task": "reviews", "data_digest": "another", "selection_split": "dev.csv", "protocol": "paper"}
    frame = compare([run_result(), run_result("minidisc"), run_result(**other)])
    assert list(dict.fromkeys(frame["task"])) == ["mrpc", "reviews"]
    assert [table.title.split(" · ")[0] for table in comparison_tables(frame)] == ["mrpc", "reviews"]
    about_selection = [note for note in footnotes(frame) if "Selected on" in note]
    assert [note.split(".")[0] for note in about_selection] == [
        "mrpc: Selected on: a tenth of train, held out",
        "reviews: Selected on: dev",
    ]
    assert ["as in the papers" in note for note in about_selection] == [False, True]
    (note,) = [note for note in footnotes(compare([run_result()])) if "Selected on" in note]
    assert note.startswith("Selected on: a tenth of train")


def test_the_same_run_twice_counts_once():
    assert row(compare([run_result(), run_result()]), "Conventional")["seeds"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "paper"},
        {"data_digest": "another"},
        {"selection_split": "validation"},
        {"primary_metric": "accuracy"},
        {"teacher": model(50, 0.9)},
    ],
)
def test_runs_that_cannot_be_compared_are_named(changes: dict):
    first, other = run_result(), run_result("minidisc", **changes)
    with pytest.raises(UserError) as error:
        compare([first, other])
    assert first.name in str(error.value)
    assert other.name in str(error.value)


def test_one_task_with_different_rows_is_refused_with_what_sets_them_apart():
    runs = [run_result(task="classification"), run_result("minidisc", task="classification", data_digest="another")]
    with pytest.raises(UserError, match=r"differ in their rows, but both are of the task class.*\(task\.name\)"):
        compare(runs)


def test_two_runs_for_one_cell_are_refused():
    with pytest.raises(UserError, match=r"first-name and second-name are both MiniDisc on mrpc at 10 percent"):
        compare([run_result("minidisc", name="first-name"), run_result("minidisc", name="second-name")])


def test_nothing_to_compare():
    with pytest.raises(UserError, match="no run"):
        compare([])


def test_recipes_that_differ_are_never_averaged_and_have_ratios_of_their_own():
    base, other = run_result("conventional", 0, hours=2.0), run_result("minidisc", 0, hours=8.0)
    changed = run_result("minidisc", 1, hours=9.0, method_digest="other-lambda", setting_digest="other-setting")
    frame = compare([base, other, changed])
    rows = frame[frame["method"].str.startswith("MiniDisc")]
    assert len(rows) == 2
    assert rows["method"].is_unique
    assert rows["device_hours_ratio"].dropna().tolist() == [4.0]


def test_ratios_on_fewer_seeds_than_the_means_beside_them_are_reported():
    frame = compare(several_seeds())
    assert row(frame, "Conventional")["ratio_seeds"] == ""
    assert row(frame, "MiniDisc")["ratio_seeds"] == "0, 1", "Conventional has seed 2 too"
    (note,) = (note for note in footnotes(frame) if "own seeds" in note)
    assert note.startswith("On mrpc ratios of TA (40%), MiniDisc, MaxiDisc are over seeds 0, 1, which both rows have;")
    of_one = [run for run in several_seeds() if run.seed == 0]
    more = [run for run in several_seeds() if run.method == "minidisc" and run.seed == 1]
    (note,) = (note for note in footnotes(compare([*of_one, *more])) if "own seeds" in note)
    assert note.startswith("On mrpc ratios of MiniDisc are over seed 0, the only one that both rows have;")
    assert not any("own seeds" in note for note in footnotes(compare(of_one)))
