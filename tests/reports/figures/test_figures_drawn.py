"""Figures: the numbers that they draw, and when there is nothing to draw."""

import pytest
from figures_kit import chain, chains, costs, figures_of
from reports_builder import model, run_result, several_objectives, several_seeds, stage

from minidisc_ray.reports.figures.accuracy import (
    MethodPoint,
    accuracy_data,
    pareto_front,
)
from minidisc_ray.reports.figures.assistants import assistants_data
from minidisc_ray.reports.figures.cost import cost_data
from minidisc_ray.reports.figures.structure import structure_data
from minidisc_ray.reports.figures.tradeoff import tradeoff_data, tradeoff_drawings
from minidisc_ray.run_files.decision import GapDecision

DECISION = GapDecision(
    teacher_metric=0.9, student_metric=0.8, num_rows=200, gap_points=10.0, low_points=7.0, high_points=13.0,
    min_gap_points=5.0, probe_epochs=1, num_epochs=3, outcome="MiniDisc (race)",
)  # fmt: skip


def test_tradeoff_is_over_seeds_and_keeps_rows_apart():
    data = tradeoff_data(several_seeds())
    assert data is not None
    assert (data.minidisc_seeds, data.maxidisc_seeds) == (2, 2)
    assert {scale: point.mean for scale, point in data.candidates.items()} == {25: 0.79, 40: 0.865, 55: 0.872}
    assert {scale: point.mean for scale, point in data.trial_students.items()} == {40: 0.84, 55: 0.82}
    assert data.tradeoffs[40].mean == pytest.approx(0.865 + 0.2 * 0.6)
    assert data.chosen == {40: 1, 35: 1}
    assert data.minidisc_student is not None
    assert (data.minidisc_student.mean, data.minidisc_student.low) == (pytest.approx(0.845), 0.84)


def test_tradeoff_by_derivative_draws_the_derivative():
    data = tradeoff_data([run_result("minidisc", selection_rule="negative derivative")])
    assert data is not None
    assert data.tradeoff_name == "Negative derivative"
    assert data.tradeoffs[55].mean == pytest.approx(-(0.9 - 0.872) / 0.45)


def test_a_run_that_went_on_with_a_race_has_a_tradeoff_of_its_own():
    auto = run_result(
        "auto", candidates=run_result("minidisc").candidates, decision=DECISION, label="Auto", method_digest="auto"
    )
    (alone,) = tradeoff_drawings([auto, run_result("maxidisc")])
    assert alone.title == "Trade-off of assistants (Auto): mrpc, LTSD, student at 10%"
    assert "the vertical line is Auto's choice. Auto: 1 seed; MaxiDisc: 1 seed." in alone.caption
    labels = [line.get_label() for axes in alone.figure.axes for line in axes.lines]
    assert "Auto's student" in labels
    assert "Auto's choice" in labels
    both = [drawing.caption for drawing in tradeoff_drawings([run_result("minidisc"), auto])]
    assert ["MiniDisc: 1 seed." in both[0], "Auto: 1 seed." in both[1]] == [True, True]
    given = auto.model_copy(update={"candidates": auto.candidates[:1]})
    assert tradeoff_drawings([given]) == [], "a given assistant was not chosen among others"
    assert tradeoff_drawings([auto.model_copy(update={"candidates": ()})]) == [], "it ended without an assistant"


def test_recipes_of_minidisc_have_a_tradeoff_each_beside_the_sweep():
    runs = [run_result("minidisc"), run_result("minidisc", name="other", method_digest="other"), run_result("maxidisc")]
    found = tradeoff_drawings(runs)
    assert len(found) == 2
    assert all("MiniDisc: 1 seed; MaxiDisc: 1 seed" in drawing.caption for drawing in found)
    other_setting = run_result("maxidisc", seed=1, setting_digest="other")
    captions = [drawing.caption for drawing in tradeoff_drawings([run_result("minidisc"), other_setting])]
    assert "MiniDisc: 1 seed." in captions[0]
    assert "MaxiDisc: 1 seed." in captions[1]


def test_bars_are_by_number_of_assistants_and_label():
    data = assistants_data(chains())
    assert data is not None
    bars = [(bar.num_assistants, bar.name, round(bar.student.mean, 3), len(bar.seeds)) for bar in data.bars]
    assert bars == [(1, "", 0.85, 2), (2, "joint", 0.85, 1), (2, "repeated", 0.83, 1), (3, "joint", 0.82, 1)]
    assert data.majority == 0.812


def test_structure_follows_the_layers_that_a_student_was_made_of():
    student = model(10, 0.8, heads=(2, 3), neurons=(300, 200), source_layers=(1, 3))
    data = structure_data(run_result("minidisc", student=student))
    assert data is not None
    assert [column.heading for column in data.columns] == ["T", "55", "40", "25", "S"]
    assert data.columns[-1].heads == (None, 2, None, 3)
    assert data.columns[-1].neurons == (None, 300, None, 200)
    assert data.whole_heads == (12,) * 4
    conventional = structure_data(run_result())
    assert conventional is not None
    assert [column.heading for column in conventional.columns] == ["T", "S"]


def test_costs_add_up_trials_and_keep_the_order_of_execution():
    direct = costs(run_result(), stage("teacher", 2, in_ratio=False), stage("importance", 1), stage("student", 3))
    chained = costs(
        run_result("minidisc"), stage("teacher", 2, in_ratio=False), stage("importance", 1), stage("sandwich", 5),
        stage("choose", 0.1), stage("student", 3),
    )  # fmt: skip
    trials = [stage(name, hours, trial) for trial in "ab" for name, hours in (("assistant", 4), ("student", 3))]
    sweep = costs(run_result("maxidisc"), stage("importance", 1), *trials)
    data = cost_data([direct, chained, sweep])
    assert data is not None
    assert data.stages.index("importance") < data.stages.index("sandwich") < data.stages.index("choose")
    assert data.stages[-1] == "student"
    bars = {bar.name: bar for bar in data.bars}
    assert bars["MaxiDisc"].hours == {"importance": 1, "assistant": 8, "student": 6}
    assert (bars["Conventional"].total, bars["Conventional"].outside) == (4, 2)


def test_costs_are_means_over_seeds():
    data = cost_data(several_seeds())
    assert data is not None
    conventional = data.bars[0]
    assert (conventional.name, conventional.num_seeds, conventional.total) == ("Conventional", 3, pytest.approx(3.0))
    assert conventional.outside == pytest.approx(1.5)


def test_accuracy_has_a_point_for_each_method_and_its_front():
    data = accuracy_data(several_seeds())
    assert data is not None
    assert [point.name for point in data.points] == ["Conventional", "TA (40%)", "MiniDisc", "MaxiDisc"]
    assert data.points[0].hours == pytest.approx(3.0)
    assert data.points[0].seeds == ((2.0, 0.80), (3.0, pytest.approx(0.81)), (4.0, pytest.approx(0.82)))
    assert [data.points[place].name for place in data.front] == ["Conventional", "TA (40%)", "MiniDisc"]


def test_methods_are_set_apart_by_what_differs():
    names = [point.name for point in accuracy_data(several_objectives()).points]
    assert names[:3] == ["Conventional · LTSD", "Conventional · HS (last)", "Conventional · KD"]
    conventional = [run for run in several_objectives() if run.method == "conventional"]
    assert [point.name for point in accuracy_data(conventional).points] == ["LTSD", "HS (last)", "KD"]
    unlabelled = [chain(count, 0, 0.8) for count in (1, 2)]
    assert [point.name for point in accuracy_data(unlabelled).points] == [
        "MiniDisc, 1 assistant", "MiniDisc, 2 assistants",
    ]  # fmt: skip
    recipes = [run_result("minidisc", name=digest, method_digest=digest) for digest in ("0123456789", "abcdefghij")]
    assert [point.name for point in accuracy_data(recipes).points] == ["MiniDisc [012345]", "MiniDisc [abcdef]"]


def test_pareto_front():
    points = [MethodPoint(str(n), cost, score, ()) for n, (cost, score) in enumerate([(2, 5), (1, 3), (2, 4), (3, 5)])]
    assert pareto_front(points) == (1, 0)
    assert pareto_front(points[:1]) == (0,)


def test_what_needs_other_runs_is_absent_from_a_run_alone():
    assert list(figures_of([run_result()])) == ["structure-mrpc-10pc", "cost-mrpc-10pc"]
    assert list(figures_of([run_result("minidisc")])) == [
        "tradeoff-mrpc-10pc", "structure-mrpc-10pc", "cost-mrpc-10pc",
    ]  # fmt: skip
    assert tradeoff_data([run_result()]) is None
    assert assistants_data([run_result("minidisc")]) is None
    assert accuracy_data([run_result(), run_result(seed=1)]) is None
    assert cost_data([costs(run_result())]) is None
    assert figures_of([]) == {}


def test_numbers_that_are_missing_are_left_out():
    sweep, scored = run_result("maxidisc"), run_result("assistant")
    failed = [trial.model_copy(update={"status": "failed"}) for trial in sweep.trials]
    assert tradeoff_data([sweep.model_copy(update={"trials": tuple(failed)})]) is None
    unscored = scored.model_copy(update={"student": model(10, 0.8, validation_metrics={})})
    assert accuracy_data([run_result(), unscored]) is None


def test_tasks_scales_and_units_have_figures_of_their_own():
    on_gpu = run_result("minidisc")
    on_gpu = on_gpu.model_copy(update={"cost": on_gpu.cost.model_copy(update={"device_unit": "GPU-hours"})})
    runs = [run_result(), run_result("assistant"), run_result(task="r/t e"), run_result(scale=5), on_gpu]
    names = list(figures_of(runs))
    assert len(names) == len(set(names))
    assert {name for name in names if name.startswith("cost")} == {
        "cost-mrpc-10pc-core-hours", "cost-mrpc-10pc-gpu-hours", "cost-r-t-e-10pc-core-hours",
        "cost-mrpc-5pc-core-hours",
    }  # fmt: skip
    assert [name for name in names if name.startswith("accuracy")] == ["accuracy-mrpc-10pc-core-hours"]


def test_runs_whose_scores_do_not_compare_never_share_a_figure():
    names = list(figures_of([run_result(), run_result("minidisc", protocol="paper")]))
    assert not [name for name in names if name.startswith("accuracy")]
    assert {"cost-mrpc-10pc", "cost-mrpc-10pc-2"} <= set(names)
