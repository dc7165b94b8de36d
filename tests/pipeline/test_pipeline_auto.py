"""Whole tiny runs that decide by themselves whether an assistant is worth its cost."""

import json
import shutil

import pytest
from pipeline_kit import Interrupted, attempts_in, interrupt, numbers, prepared_run, random_teacher, stages_of
from safetensors.torch import load_file
from storage_kit import LOCAL

from minidisc_ray.cli import main
from minidisc_ray.configs import UserError
from minidisc_ray.pipeline import trial as trial_module
from minidisc_ray.pipeline.decision import decided
from minidisc_ray.pipeline.finish import is_finished
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.outcomes import with_outcome
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.run.plan import plan_report
from minidisc_ray.reports.storage.listing import listing
from minidisc_ray.reports.storage.status import status
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.checkpoints import BEST, NEWEST
from minidisc_ray.training.score import pass_flops

# A student at 10% of a random teacher does not come near it.
LARGE_GAP = "schedule={kind: auto, then: {kind: assistant, assistant_percent: 40}}"
SMALL_GAP = "schedule={kind: auto, min_gap_points: 100, then: {kind: assistant, assistant_percent: 40}}"
TRAINING = ("distil.num_epochs=4", "data.selection_fraction=0.3")
DIRECT = {"conventional": "schedule={kind: conventional}", "assistant": "schedule={kind: assistant}"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return random_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("auto")


def prepared(storage, teacher, schedule, *overrides) -> PreparedRun:
    return prepared_run(storage, "conventional", (*teacher, *TRAINING, schedule, *overrides))


@pytest.fixture(scope="module")
def small(storage, teacher) -> RunResult:
    return run_in_process(prepared(storage, teacher, SMALL_GAP))


@pytest.fixture(scope="module")
def large(storage, teacher) -> RunResult:
    return run_in_process(prepared(storage, teacher, LARGE_GAP))


@pytest.fixture(scope="module")
def direct(storage, teacher) -> dict[str, RunResult]:
    return {kind: run_in_process(prepared(storage, teacher, schedule)) for kind, schedule in DIRECT.items()}


def record_of(storage, result, stage):
    return read_record(LOCAL, storage / result.name / "stages" / stage)


def weights_of(storage, result):
    return load_file(storage / result.name / "student" / "model.safetensors")


def names_of(result) -> list[str]:
    return [stage.stage for stage in result.cost.stages if stage.in_ratio]


@pytest.mark.parametrize("kind", ["conventional", "assistant"])
def test_each_way_ends_with_the_student_of_the_schedule_that_it_took(storage, small, large, direct, kind):
    ours, same = {"conventional": small, "assistant": large}[kind], direct[kind]
    found, expected = weights_of(storage, ours), weights_of(storage, same)
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert ours.student == same.student
    assert ours.assistants == same.assistants
    assert ours.candidates == same.candidates
    assert record_of(storage, ours, "student").history == record_of(storage, same, "student").history
    assert (ours.method, ours.label[:4], same.decision) == ("auto", "Auto", None)


def test_the_result_says_what_was_decided_and_by_what(storage, small, large):
    assert names_of(small) == ["importance", "probe", "decide", "student"]
    assert names_of(large) == ["importance", "probe", "decide", "assistant", "student"]
    for result, outcome, side in ((small, "Conventional", "not above 100"), (large, "TA (40%)", "above 5")):
        decision = result.decision
        probe = record_of(storage, result, "probe")
        assert decision.uses_assistant == (result is large)
        assert decision.teacher_metric == result.teacher.selection_metrics["accuracy"]
        assert decision.student_metric == max(epoch.selection_score for epoch in probe.history)
        assert decision.gap_points == pytest.approx(100 * (decision.teacher_metric - decision.student_metric))
        assert decision.low_points < decision.gap_points < decision.high_points
        assert (decision.probe_epochs, decision.num_epochs, decision.num_rows) == (
            2,
            4,
            result.splits["selection"].rows,
        )
        assert decision.sentence.startswith("auto: teacher ")
        assert decision.sentence.endswith(f"{side}: {outcome}")
    assert small.decision.model_copy(update={"min_gap_points": 5.0, "outcome": "TA (40%)"}) == large.decision


def test_a_gap_of_exactly_the_threshold_is_not_above_it(tmp_path, storage, teacher, large):
    """A few rows give few gaps, and 100 x (0.8 - 0.775) is a little more than 2.5."""
    gap = large.decision.gap_points
    assert gap == round(gap, 9)
    exact = prepared(tmp_path, teacher, f"schedule={{kind: auto, min_gap_points: {gap!r}, then: {{kind: assistant}}}}")
    decision = run_in_process(exact).decision
    assert decision.gap_points == decision.min_gap_points == gap
    assert (decision.uses_assistant, decision.outcome) == (False, "Conventional")


def test_a_probe_that_has_learned_nothing_is_said(large):
    learned, failed = (large.decision.model_copy(update={"student_has_learned": found}) for found in (True, False))
    assert learned.sentence.endswith("above 5: TA (40%)")
    assert failed.sentence == learned.sentence + "; that student has learned nothing, so the gap says little"


def test_the_probe_is_charged_and_the_conventional_way_costs_no_epoch_twice(storage, teacher, small, large, direct):
    flops = {(r.name, s.stage): s.training_flops for r in (small, large, *direct.values()) for s in r.cost.stages}
    plain, probe = direct["conventional"], flops[small.name, "probe"]
    assert probe == flops[large.name, "probe"] > 0
    steps = flops[plain.name, "student"]
    both = probe + flops[small.name, "student"]
    run = prepared(storage, teacher, SMALL_GAP)
    filled_again = pass_flops(run.shape, run.shape.full(), run.train)
    assert both - steps == pytest.approx(filled_again, rel=0.05)
    assert large.cost.training_flops == pytest.approx(direct["assistant"].cost.training_flops + probe)
    for result in (small, large):
        assert result.closed_form_training_flops == pytest.approx(result.cost.training_flops, rel=0.03)
        assert result.closed_form_evaluation_flops == pytest.approx(result.cost.evaluation_flops, rel=0.03)
        hours = {stage.stage: stage.device_hours for stage in result.cost.stages}
        assert min(hours["probe"], hours["decide"]) > 0


def test_finished_stages_keep_no_checkpoints(storage, small, large):
    for result in (small, large):
        stages = storage / result.name / "stages"
        assert not [path for path in stages.glob("*/*") if path.name in (NEWEST, BEST)]


@pytest.mark.parametrize("schedule", [SMALL_GAP, LARGE_GAP])
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("in the probe", marks=pytest.mark.slow),
        "before the decision",
        pytest.param("after it", marks=pytest.mark.slow),
        pytest.param("in the student", marks=pytest.mark.slow),
    ],
)
def test_a_stop_anywhere_changes_nothing(tmp_path, teacher, small, large, monkeypatch, schedule, moment):
    run = prepared(tmp_path, teacher, schedule)
    with monkeypatch.context() as patch:
        if moment == "in the probe":
            interrupt(patch, "probe", epoch=1)
        elif moment == "in the student":
            interrupt(patch, "student", epoch=3)
        else:
            stage = "decide_on_assistant" if moment == "before the decision" else "distil_student"
            whole = getattr(trial_module, stage)

            def stop(context, step, attempt):
                if step.name == "probe":
                    return whole(context, step, attempt)
                raise Interrupted

            patch.setattr(trial_module, stage, stop)
        with pytest.raises(Interrupted):
            run_in_process(run)
    result = run_in_process(run)
    assert numbers(result) == numbers(small if schedule == SMALL_GAP else large)
    probes = [attempt.status for attempt in stages_of(run) if attempt.name == "probe"]
    assert probes.count("finished") == 1


def copy_of(storage, tmp_path, teacher, result, schedule) -> PreparedRun:
    """A copy of a finished run that has lost its result and its student."""
    shutil.copytree(storage, tmp_path / "copy")
    run = prepared(tmp_path / "copy", teacher, schedule)
    assert run.name == result.name
    (run.run_folder / "result.json").unlink()
    shutil.rmtree(run.run_folder / "student")
    return run


@pytest.mark.parametrize("damage", ["text", "another value", "gone"])
def test_a_damaged_decision_is_made_again(storage, small, teacher, tmp_path, damage):
    run = copy_of(storage, tmp_path, teacher, small, SMALL_GAP)
    path = run.run_folder / "stages" / "decide" / "record.json"
    match damage:
        case "text":
            path.write_text("{")
        case "another value":
            path.write_text(path.read_text().replace('"min_gap_points": 100.0', '"min_gap_points": 1.0'))
        case "gone":
            path.unlink()
    before = len(attempts_in(run.run_folder))
    assert decided(run) is run
    assert not is_finished(run)
    assert numbers(run_in_process(run)) == numbers(small)
    assert [one.name for one in attempts_in(run.run_folder)[before:] if one.kind == "stage"] == ["decide"]


def test_a_student_that_is_lost_is_distilled_from_the_start_to_the_same_numbers(storage, small, teacher, tmp_path):
    """The probe's checkpoints are gone by then."""
    run = copy_of(storage, tmp_path, teacher, small, SMALL_GAP)
    shutil.rmtree(run.run_folder / "stages" / "student")
    result = run_in_process(run)
    assert numbers(result) == numbers(small)
    assert result.cost.training_flops == small.cost.training_flops


def test_a_probe_without_its_checkpoints_is_no_loss_but_time(tmp_path, teacher, small, monkeypatch):
    run = prepared(tmp_path, teacher, SMALL_GAP)
    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "decide_on_assistant", lambda *_: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            run_in_process(run)
    probe = run.run_folder / "stages" / "probe"
    assert (probe / NEWEST).is_dir()
    (probe / NEWEST / "state.json").write_text("{}")
    assert numbers(run_in_process(run)) == numbers(small)


def test_a_race_follows_a_large_gap_by_default(storage, teacher):
    race = "{kind: minidisc, search: race, scales: [60, 30]}"
    run = prepared(storage, teacher, f"schedule={{kind: auto, then: {race}}}")
    result = run_in_process(run)
    plain = run_in_process(prepared(storage, teacher, f"schedule={race}"))
    assert names_of(result) == ["importance", "probe", "decide", "sandwich", "choose", "student"]
    assert (result.student, result.race, result.candidates) == (plain.student, plain.race, plain.candidates)
    assert result.selection_rule == plain.selection_rule
    assert (run.run_folder / "family").is_dir()


def test_a_whole_distillation_may_be_the_probe(storage, teacher, direct):
    result = run_in_process(prepared(storage, teacher, SMALL_GAP, "schedule.probe_share=1"))
    assert result.student == direct["conventional"].student
    assert result.decision.probe_epochs == 4


@pytest.mark.slow
def test_a_student_of_fewer_layers_goes_either_way(storage, teacher):
    student = "{kind: layers, num_layers: 1, width_percent: 20}"
    for schedule, kind in ((SMALL_GAP, "conventional"), (LARGE_GAP, "assistant")):
        result, plain = (
            run_in_process(prepared(storage, teacher, each, f"student={student}")) for each in (schedule, DIRECT[kind])
        )
        assert result.student == plain.student


def lines_of(run) -> list[str]:
    return [part for part in plan_report(run).parts if isinstance(part, str)]


def test_the_plan_says_what_decides_and_what_both_ways_cost(tmp_path, teacher):
    run = prepared(tmp_path, teacher, SMALL_GAP)
    first, second = [line for line in lines_of(run) if line.startswith("auto: ")]
    rows = len(run.selection)
    assert first == (
        "auto: after 2 of 4 epochs of the conventional distillation, its best student is compared with the teacher on "
        f"{rows} selection rows"
    )
    flops = [
        sum(stage.flops for stage in Estimator(with_outcome(run, uses)).stages() if stage.in_ratio) / 1e12
        for uses in (True, False)
    ]
    assert flops[0] > flops[1] > 0
    assert second == (
        f"auto: a gap above 100 points is followed by TA (40%), as assumed above: {flops[0]:,.3f} TFLOPs with "
        f"evaluation; a smaller one by the rest of that distillation: {flops[1]:,.3f}"
    )
    (warning,) = [line for line in lines_of(run) if line.startswith("warning")]
    assert warning.startswith(f"warning: {rows} selection rows decide whether an assistant is used, so the interval")
    many = prepared(tmp_path, teacher, SMALL_GAP, "data.train_rows=512")
    assert not [line for line in lines_of(many) if line.startswith("warning")]


def test_the_laws_assistant_is_computed_as_without_it(tmp_path, teacher):
    law = "{kind: law, scales: [80, 60, 40, 20]}"
    run, plain = (prepared(tmp_path, teacher, f"schedule={each}") for each in (f"{{kind: auto, then: {law}}}", law))
    assert run.config.schedule.then == plain.config.schedule
    assert run.plan.trials[0].steps[2:] == plain.plan.trials[0].steps


def test_a_probe_that_ends_before_the_objectives_last_phase_is_refused(tmp_path, teacher):
    objective = "objective={kind: sequence, phases: [{objective: {kind: hs}, share: 3}, {objective: {kind: kd}}]}"
    with pytest.raises(UserError, match=r"^schedule.probe_share: 0.5 ends the probe after epoch 2 of 4.*use 1 or more"):
        prepared(tmp_path, teacher, SMALL_GAP, objective)
    assert prepared(tmp_path, teacher, SMALL_GAP, objective, "schedule.probe_share=1").plan


def test_report_status_listing_and_comparison_show_the_decision(storage, small, large, capsys):
    for result in (small, large):
        folder = storage / result.name
        page = write_report(LOCAL, folder, result).read_text()
        assert result.decision.sentence in page
        (entry,) = status(folder)
        (line,) = listing(folder)
        assert entry.stage == line.note == result.decision.summary
        with pytest.raises(SystemExit) as ended:
            main(["compare", str(folder)])
        assert ended.value.code == 0
        assert f"{result.name}: {result.decision.summary}" in " ".join(capsys.readouterr().out.split())
    assert json.loads((storage / small.name / "result.json").read_text())["decision"]["outcome"] == "Conventional"
