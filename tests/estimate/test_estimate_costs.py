"""What is predicted from a few timed steps: the arithmetic on made-up seconds, then the whole on a tiny real task."""

from dataclasses import replace

import pytest
import torch
from estimate_kit import estimate_in_process
from pipeline_kit import prepared_run

from minidisc_ray.core.flops import macs_of
from minidisc_ray.data import epoch_batches, evaluation_batches, take_rows
from minidisc_ray.estimate.forecast import Forecaster, fit_line, fit_passes
from minidisc_ray.estimate.predict import alternatives, makespan, predict_costs
from minidisc_ray.estimate.sample_rows import rows_to_score, rows_to_train, scored_sizes
from minidisc_ray.estimate.timings import Overheads, TimedPass, TimedStage, Timings
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.closed_form import sizes_of
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.run.estimate import render_estimate
from minidisc_ray.schedules.plan import SHARED_TRIAL, ImportanceStep, TeacherStep, Trial

approx = pytest.approx
STEP_SECONDS, PASS_SECONDS = 3e-8, 1e-8  # a multiply-add, in training and without gradients
READ, END, ONCE = 0.25, 0.5, 2.0


def test_lines_and_passes_are_found_again():
    line = fit_line([(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)])
    assert (line.slope, line.intercept, line(10.0)) == (approx(2.0), approx(3.0), approx(23.0))
    assert fit_line([(0.0, 1.0), (1.0, 0.0)])(5.0) == 0.0
    assert fit_line([(3.0, 4.0)])(100.0) == 4.0
    speed = fit_passes([(10, 1e9, 10 * 0.01 + 1e9 * 2e-9), (10, 1e8, 10 * 0.01 + 1e8 * 2e-9)])
    assert (speed.batch_seconds, speed.mac_seconds) == (approx(0.01), approx(2e-9))
    faster = fit_passes([(10, 1e9, 1.0), (10, 1e8, 0.05)])
    assert faster.batch_seconds == 0.0, "noise makes no time negative"


def test_trials_begin_in_order_wherever_a_place_is_free():
    assert makespan([3, 2, 2, 1], 1) == 8
    assert makespan([3, 2, 2, 1], 2) == 4
    assert makespan([1, 1, 5], 2) == 6
    assert makespan([4], 3) == 4
    assert makespan([], 2) == 0


def test_a_sample_has_the_lengths_of_its_split(tmp_path):
    rows = prepared_run(tmp_path, "conventional", ("data.train_rows=1000",)).train
    whole, few = rows_to_train(rows, 16, 0, 10_000), rows_to_train(rows, 16, 0, 8)
    assert whole is rows
    assert len(few) == 8 * 16
    longest = [int(rows.lengths[batch].max()) for batch in epoch_batches(rows.lengths, 16, 0, 0)]
    assert few.lengths.double().mean() == approx(float(rows.lengths.double().mean()), rel=0.1)
    sampled = [length for _, length in sizes_of(few, epoch_batches(few.lengths, 16, 0, 0))]
    assert sum(sampled) / len(sampled) == approx(sum(longest) / len(longest), rel=0.4)  # few batches are sorted less
    scored = rows_to_score(rows, 100)
    assert len(scored) == 100
    taken = take_rows(rows, torch.tensor([5, 2]))
    assert taken.labels.tolist() == rows.labels[[5, 2]].tolist()
    assert taken.input_ids[: int(rows.lengths[5])].tolist() == (
        rows.input_ids[int(rows.offsets[5]) : int(rows.offsets[6])].tolist()
    )


@pytest.fixture
def planned(tmp_path):
    return prepared_run(tmp_path, "minidisc", ("data.train_rows=512", "distil.num_epochs=3"))


def made_up(prepared) -> Timings:
    """Timings of a device that keeps to the laws exactly, on samples of an eighth of the rows."""
    config, shape = prepared.config, prepared.shape
    few, selection = rows_to_train(prepared.train, 16, config.seed, 4), rows_to_score(prepared.selection, 16)
    (validation,) = (rows_to_score(rows, 16) for rows in prepared.validation.values())
    scored = (*scored_sizes(selection), *scored_sizes(validation))
    batches = sizes_of(few, epoch_batches(few.lengths, 16, config.seed, 0))

    def passed(scale, sizes):
        return PASS_SECONDS * macs_of(shape, prepared.structure(scale), sizes)

    def stage(kind, scale, trained, end_scales, once):
        seconds = [
            STEP_SECONDS * sum(macs_of(shape, prepared.structure(s), (size,)) for s in trained) for size in batches
        ]
        end = END + sum(passed(s, scored_sizes(selection)) for s in end_scales)
        return TimedStage(
            stage=kind, scale_percent=scale, seconds=sum(seconds) + end + once, batches=batches,
            step_seconds=seconds[1:], epoch_end_seconds=end, rows=scored_sizes(few),
        )  # fmt: skip

    fill = passed(100, scored_sizes(few))
    distilled = {
        scale: stage("assistant", scale, [scale], [scale], ONCE + 2 * READ + fill + passed(scale, scored))
        for scale in (60, 30)
    }
    measured = sizes_of(few, evaluation_batches(few.lengths, 32))
    scales = (60, 30, 10)
    answers = sum(passed(scale, scored_sizes(selection)) for scale in scales)
    return Timings(
        stages=(
            stage("teacher", 100, [100], [100], ONCE + passed(100, scored)),
            TimedStage(
                stage="importance", scale_percent=100, batches=measured,
                seconds=READ + 2 * PASS_SECONDS * macs_of(shape, shape.full(), measured),
            ),
            stage("sandwich", 100, (60, 10), scales, ONCE + fill + answers),
            TimedStage(stage="choose", scale_percent=30, seconds=ONCE + passed(30, scored)),
            *distilled.values(),
            stage("student", 10, [10], [10], ONCE + 2 * READ + fill + passed(10, scored)),
        ),
        selection=scored_sizes(selection),
        validation=scored_sizes(validation),
        passes=tuple(
            TimedPass(scale_percent=s, batches=scored_sizes(selection), seconds=passed(s, scored_sizes(selection)))
            for s in (100, 10)
        ),
        fill=TimedPass(scale_percent=100, batches=scored_sizes(few), seconds=fill),
        load_seconds=READ,
        seconds=9.0,
    )  # fmt: skip


def test_a_device_that_keeps_to_the_laws_is_foreseen_exactly(planned):
    forecaster = Forecaster(planned, made_up(planned))
    train = sizes_of(planned.train, epoch_batches(planned.train.lengths, 16, 0, 0))
    selection = scored_sizes(planned.selection)
    scored = (*selection, *(size for rows in planned.validation.values() for size in scored_sizes(rows)))
    whole = scored_sizes(planned.train)

    def macs(scale, sizes):
        return macs_of(planned.shape, planned.structure(scale), sizes)

    def epoch(trained, evaluated):
        return (
            END
            + sum(STEP_SECONDS * macs(s, train) for s in trained)
            + sum(PASS_SECONDS * macs(s, selection) for s in evaluated)
        )

    answers = sum(macs(scale, selection) for scale in (60, 30, 10))
    trial = planned.plan.trial("main")
    sandwich, choose, student = trial.steps
    shared = Trial(SHARED_TRIAL, ())
    expected = {
        TeacherStep(): 2 * epoch([100], [100]) + ONCE + PASS_SECONDS * macs(100, scored),
        sandwich: 3 * epoch([60, 10], [60, 30, 10]) + ONCE + PASS_SECONDS * (macs(100, whole) + answers),
        choose: ONCE + PASS_SECONDS * macs(30, scored),
        # The assistant teaches: one smaller model is read, and its outputs cost less.
        student: 3 * epoch([10], [10]) + ONCE + READ + PASS_SECONDS * (macs(30, whole) + macs(10, scored)),
    }  # fmt: skip
    for step, seconds in expected.items():
        found = forecaster.seconds(planned, trial if step in trial.steps else shared, step)
        assert found == approx(seconds, rel=1e-6), step
    importance = READ + 2 * PASS_SECONDS * macs(
        100, sizes_of(planned.train, evaluation_batches(planned.train.lengths, 32))
    )
    assert forecaster.seconds(planned, shared, ImportanceStep()) == approx(importance, rel=1e-6)

    maxidisc = alternatives(planned).runs["maxidisc"]
    for trial in maxidisc.plan.trials:
        scale = trial.assistant_percent
        seconds = (
            3 * epoch([scale], [scale]) + ONCE + 2 * READ + PASS_SECONDS * (macs(100, whole) + macs(scale, scored))
        )
        assert forecaster.seconds(maxidisc, trial, trial.steps[0]) == approx(seconds, rel=1e-6)


def test_outputs_that_are_not_cached_are_in_every_epoch(planned):
    uncached = replace(
        planned,
        config=planned.config.model_copy(
            update={"compute": planned.config.compute.model_copy(update={"teacher_cache_gib": 0.0})}
        ),
    )
    timings = made_up(planned)
    trial = planned.plan.trial("main")
    student = trial.steps[-1]
    cached, again = (Forecaster(run, timings).seconds(run, trial, student) for run in (planned, uncached))
    structure, train = planned.structure(30), sizes_of(planned.train, epoch_batches(planned.train.lengths, 16, 0, 0))
    more = 3 * macs_of(planned.shape, structure, train) - macs_of(planned.shape, structure, scored_sizes(planned.train))
    assert again - cached == approx(PASS_SECONDS * more)


def test_hours_start_up_duration_and_price_add_up(planned):
    found = alternatives(planned)
    over = Overheads(
        cluster_seconds=5, job_seconds=3, startup_seconds=7, sweep_seconds=11, trial_seconds=1, at_once=2, slowdown=1.5
    )
    estimate = predict_costs(found, planned, made_up(planned), over)
    assert [method.kind for method in estimate.methods] == ["conventional", "minidisc", "maxidisc"]
    assert [method.is_recipe for method in estimate.methods] == [False, True, False]
    conventional, minidisc, maxidisc = estimate.methods
    for method in estimate.methods:
        stages = [stage for stage in method.stages if stage.in_ratio]
        assert method.device_hours == approx(sum(stage.seconds for stage in stages) / 3600)
        assert method.ratio_to_conventional == approx(method.device_hours / conventional.device_hours)
    seconds = sum(stage.seconds for stage in minidisc.stages)
    assert minidisc.duration_seconds == approx(5 + 3 + 7 + seconds)
    assert minidisc.startup_device_hours == approx(7 / 3600)
    trials = [sum(s.seconds for s in maxidisc.stages if s.trial == name) for name in ("scale-60", "scale-30")]
    shared = sum(stage.seconds for stage in maxidisc.stages if stage.trial == "shared")
    assert maxidisc.duration_seconds == approx(5 + 3 + 7 + shared + 11 + max(trials) + 1)
    assert maxidisc.startup_device_hours == approx((7 + 2 * 1) / 3600)
    alone = predict_costs(found, planned, made_up(planned), over.model_copy(update={"slowdown": 1.0})).methods[2]
    assert sum(trials) == approx(1.5 * sum(stage.seconds for stage in alone.stages if stage.trial != "shared"))
    table = render_estimate(estimate, "table", 160)
    for words in (
        "MiniDisc (η = 2), this recipe",
        "Teacher",
        "early stopping",
        "2 trials of a sweep run at the same time",
    ):
        assert words in table
    assert "Price" not in table


def test_a_schedule_that_the_recipe_does_not_allow_is_left_out_and_its_own_added(tmp_path):
    law = prepared_run(tmp_path, "assistant", ("schedule={kind: maxidisc, scales: [40, 20]}",))
    found = alternatives(law)
    assert list(found.runs) == ["conventional", "maxidisc"]
    assert "num_sampled" in found.left_out["minidisc"]
    assert found.runs["maxidisc"] is law
    assistant = prepared_run(tmp_path, "assistant")
    found = alternatives(assistant)
    assert list(found.runs) == ["conventional", "minidisc", "maxidisc", "recipe"]
    assert found.timed is found.runs["minidisc"]
    assert found.assistant_scales == (95, 55, 15)


def test_a_run_that_decides_is_priced_both_ways(tmp_path):
    overrides = ("distil.num_epochs=4", "schedule={kind: auto, then: {kind: minidisc, search: race, scales: [60, 30]}}")
    run = prepared_run(tmp_path, "minidisc", overrides)
    over = Overheads(
        cluster_seconds=0, job_seconds=0, startup_seconds=0, sweep_seconds=0, trial_seconds=0, at_once=1, slowdown=1
    )
    estimate = predict_costs(alternatives(run), run, made_up(run), over)
    methods = {method.kind: method for method in estimate.methods}
    assert list(methods) == ["conventional", "minidisc", "maxidisc", "auto_small_gap", "auto_large_gap"]
    small, large = methods["auto_small_gap"], methods["auto_large_gap"]
    assert [method.is_recipe for method in methods.values()] == [False, False, False, True, True]
    assert small.method == "Auto, small gap: Conventional"
    assert large.method == "Auto, large gap: MiniDisc (race)"
    names = {kind: [stage.stage for stage in methods[kind].stages if stage.in_ratio] for kind in methods}
    assert names["auto_small_gap"] == ["importance", "probe", "decide", "student"]
    assert names["auto_large_gap"] == ["importance", "probe", "decide", "sandwich", "choose", "student"]
    assert methods["conventional"].device_hours < small.device_hours < large.device_hours
    seconds = [{stage.stage: stage.seconds for stage in each.stages} for each in (small, large)]
    assert seconds[0]["probe"] == seconds[1]["probe"] > 0


def test_a_real_estimate_leaves_nothing_behind(tmp_path):
    prepared = prepared_run(tmp_path / "storage", "minidisc")
    estimate = estimate_in_process(prepared, budget_seconds=2.0)
    assert list(tmp_path.iterdir()) == []
    assert [(timed.stage, timed.scale_percent) for timed in estimate.timed if timed.stage != "choose"] == [
        ("teacher", 100), ("importance", 100), ("sandwich", 100), ("assistant", 60), ("assistant", 30), ("student", 10),
    ]  # fmt: skip
    for timed in estimate.timed:
        if timed.stage not in ("importance", "choose"):
            assert timed.num_steps >= 2
            assert timed.step_seconds > 0
            assert timed.spread_low <= 1 <= timed.spread_high
    hours = {method.kind: method.device_hours for method in estimate.methods}
    assert 0 < hours["conventional"] < min(hours["minidisc"], hours["maxidisc"])
    for method in estimate.methods:
        assert all(stage.seconds > 0 for stage in method.stages)
        assert method.duration_seconds >= sum(stage.seconds for stage in method.stages) * (1 - 1e-9)
    assert not estimate.teacher.is_there
    assert not estimate.stops_early


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_within_a_quarter_of_what_then_happens(tmp_path):
    """The built-in task as it is, without early stopping; on a machine with no other work."""
    raw = {"storage": str(tmp_path), "distil": {"early_stop_epochs": None, "num_epochs": 4}}
    raw |= {"finetune": {"early_stop_epochs": None, "num_epochs": 3}}
    raw |= {"schedule": {"kind": "minidisc", "scales": {"kind": "list", "values": [85, 70, 55, 40, 25]}}}
    raw |= {"teacher": {"kind": "builtin", "allow_at_chance": True}}  # as three epochs may leave it
    from minidisc_ray.configs import resolve

    prepared = prepare(resolve(raw))
    estimate = estimate_in_process(prepared, budget_seconds=60.0)
    for method in estimate.methods:
        result = run_in_process(alternatives(prepared).runs[method.kind])
        assert method.device_hours == approx(result.cost.device_hours, rel=0.25), method.kind
