"""Whole tiny runs whose candidates race: early choice, a student from its own slice, the closed form along its path."""

import pytest
import torch
from pipeline_kit import Interrupted, interrupt, numbers, prepared_run, random_teacher, run
from safetensors.torch import load_file
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.race import CheckTimes
from minidisc_ray.core.trace import Trace
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.objectives.ltsd import LTSDObjective
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.run.race import race_line, race_rule
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.race import Race

RACE = (
    "schedule={kind: minidisc, search: race, scales: [80, 60, 40, 20]}",
    "distil.num_epochs=6",
    "data.selection_fraction=0.3",
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("races")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return random_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def raced(storage, teacher) -> RunResult:
    return run(storage, "minidisc", (*teacher, *RACE))


def record_of(storage, result, stage):
    return read_record(LOCAL, storage / result.name / "stages" / stage)


def test_a_race_leaves_its_checks_its_choice_and_every_candidate(storage, raced):
    last = raced.race[-1]
    assert [check.step for check in raced.race] == sorted({check.step for check in raced.race})
    assert raced.race[0].step == 0
    assert [check.choice for check in raced.race[:-1]] == [None] * (len(raced.race) - 1)
    assert last.choice in (80, 60, 40, 20)
    assert last.reason is not None
    assert raced.assistants[0].scale_percent == last.choice
    assert [candidate.scale_percent for candidate in raced.candidates] == [80, 60, 40, 20]
    assert raced.label == "MiniDisc (race)"
    assert raced.selection_rule == "λ-tradeoff with λ = 0.2, in a race"
    sandwich = record_of(storage, raced, "sandwich")
    assert sandwich.race == raced.race
    assert sandwich.best_epoch is not None
    steps_per_epoch = -(-raced.splits["train"].rows // 16)
    assert sandwich.best_epoch * steps_per_epoch >= last.step, "the kept epoch ends after the choice"


def test_candidates_that_left_without_a_look_are_named(storage, raced):
    assert "never evaluated" not in race_line(raced), "a grid of four is evaluated as a whole"
    first, *others = raced.race
    doctored = (first.model_copy(update={"ruled_out": (95, 80, 90)}), *others)
    result = raced.model_copy(update={"race": doctored})
    line = race_line(result)
    assert line.startswith(race_line(raced))
    assert line.endswith("would have made them the best: 95%, 90%")
    page = " ".join(write_report(LOCAL, storage / raced.name, result).read_text().split())
    assert "Of 6 assistant candidates the one at" in page
    assert "would have made 95% or 90% the best, so they were never evaluated." in page


def test_the_page_says_by_what_a_race_chose(storage, raced):
    folder = storage / raced.name
    page = " ".join(write_report(LOCAL, folder, raced).read_text().split())
    sandwich, last = record_of(storage, raced, "sandwich"), raced.race[-1]
    steps_per_epoch = -(-raced.splits["train"].rows // 16)
    epoch, rows = -(-last.step // steps_per_epoch), raced.splits["selection"].rows
    assert last.num_rows == rows, "there are fewer than a first evaluation takes"
    assert (
        f"Chosen after {last.step} steps, in epoch {epoch}, by λ-tradeoff with λ = 0.2, in a race, on {rows} selection "
        f"rows: {last.choice}% ("
    ) in page
    assert f"has the chosen one at epoch {sandwich.best_epoch}, which was kept after that, the others at their" in page
    # A part of the rows, no history, and no assistant.
    checks = (*raced.race[:-1], last.model_copy(update={"num_rows": rows - 9, "choice": 100}))
    sentence = race_rule(raced.model_copy(update={"race": checks}), ())
    assert sentence.startswith(f"Chosen after {last.step} steps, by ")
    assert f", on {rows - 9} of {rows} selection rows: no assistant (" in sentence
    assert "lead" not in sentence


def test_after_the_choice_only_assistant_and_slice_are_trained_and_scored(storage, raced, teacher, monkeypatch):
    trained: dict[int, tuple[int, ...]] = {}
    original = Race.scales_of_step

    def scales_of_step(self, step):
        trained[step] = original(self, step)
        return trained[step]

    monkeypatch.setattr(Race, "scales_of_step", scales_of_step)
    result = run(storage, "minidisc", (*teacher, *RACE, "name=watched"))
    last = result.race[-1]
    assert all(scales == (last.choice, 10) for step, scales in trained.items() if step >= last.step)
    before = [scales for step, scales in trained.items() if step < last.step]
    assert all(scales[-1] == 10 and len(scales) <= 3 for scales in before)
    assert numbers(result) == {**numbers(raced), "name": "watched"}
    for epoch in record_of(storage, result, "sandwich").history:
        assert set(epoch.metrics) == ({last.choice, 10} if epoch.is_final_phase else {10})


def test_the_student_goes_on_from_the_slice_of_the_kept_state(storage, raced, teacher):
    """With a learning rate of next to nothing it stays what the race left."""
    still = prepared_run(
        storage,
        "minidisc",
        (
            *teacher,
            *RACE,
            "distil.learning_rate=1e-30",
            "name=still",
            "sandwich={num_epochs: 6, batch_size: 16, learning_rate: 2e-3, early_stop_epochs: null}",
        ),
    )
    result = run_in_process(still)
    assert result.race == raced.race
    shared = load_model(still.run_folder / "stages" / "sandwich" / "model")
    expected = cut(shared, structures_of(still, (10,))[10]).state_dict()
    student = load_file(still.run_folder / "student" / "model.safetensors")
    assert all(torch.equal(student[name], expected[name]) for name in student)
    assert record_of(storage, result, "student").num_epochs == 3, "half of six"


def test_an_interrupted_race_goes_on_to_the_same_result(tmp_path, raced, teacher, monkeypatch):
    stopped = prepared_run(tmp_path, "minidisc", (*teacher, *RACE))
    with monkeypatch.context() as patch:
        interrupt(patch, "sandwich", epoch=2)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    assert numbers(run_in_process(stopped)) == numbers(raced)


def test_a_race_interrupted_between_two_checks_goes_on_to_the_same_result(tmp_path, raced, teacher, monkeypatch):
    stopped = prepared_run(tmp_path, "minidisc", (*teacher, *RACE, "distil.checkpoint_steps=2"))
    steps = []
    original = StageObserver.on_step

    def on_step(self, step, *rest):
        original(self, step, *rest)
        if self.stage == "sandwich" and not steps and step == 5:
            steps.append(step)
            raise Interrupted

    monkeypatch.setattr(StageObserver, "on_step", on_step)
    with pytest.raises(Interrupted):
        run_in_process(stopped)
    assert numbers(run_in_process(stopped)) == numbers(raced)


def test_the_closed_form_follows_the_path_that_the_race_took(raced):
    stages = [stage for stage in raced.cost.stages if stage.stage != "teacher"]
    measured = sum(stage.training_flops for stage in stages)
    evaluated = sum(stage.evaluation_flops for stage in stages)
    assert raced.closed_form_training_flops == pytest.approx(measured, rel=0.03)
    assert raced.closed_form_evaluation_flops == pytest.approx(evaluated, rel=0.03)


@pytest.mark.parametrize("option", ["in_place=true", "num_sampled=1"])
def test_an_option_of_a_race_is_another_run_whose_closed_form_holds(tmp_path, storage, raced, teacher, option):
    result = run(tmp_path, "minidisc", (*teacher, *RACE, f"schedule.{option}"))
    assert result.name != raced.name
    assert record_of(tmp_path, result, "sandwich").history != record_of(storage, raced, "sandwich").history
    test_the_closed_form_follows_the_path_that_the_race_took(result)


def test_in_place_the_largest_of_a_step_teaches_the_others(tmp_path, teacher, monkeypatch):
    targets: list[list[Trace]] = []
    original = LTSDObjective.forward

    def forward(self, student, target, batch, totals):
        targets[-1].append(target)
        answered.append(student.logits.detach().clone())
        return original(self, student, target, batch, totals)

    answered: list[torch.Tensor] = []
    scales = Race.scales_of_step

    def scales_of_step(self, step):
        targets.append([])
        return scales(self, step)

    monkeypatch.setattr(LTSDObjective, "forward", forward)
    monkeypatch.setattr(Race, "scales_of_step", scales_of_step)
    prepared = prepared_run(tmp_path, "minidisc", (*teacher, *RACE, "schedule.in_place=true"))
    interrupt(monkeypatch, "sandwich", epoch=1)
    with pytest.raises(Interrupted):
        run_in_process(prepared)
    first = next(step for step in targets if step)
    assert len(first) == 3
    assert all(torch.equal(target.logits, answered[0]) for target in first[1:])
    assert not torch.equal(first[0].logits, answered[0]), "itself it learns from the teacher"
    assert not any(target.logits.requires_grad for target in first)


def test_in_place_needs_an_objective_whose_outputs_all_networks_have(tmp_path, teacher):
    for objective, reason in (("minilm", "compares attention"), ("labels", "needs no teacher")):
        with pytest.raises(UserError, match=f"schedule.in_place: true, but .*{reason}"):
            prepared_run(
                tmp_path, "minidisc", (*teacher, *RACE, "schedule.in_place=true", f"objective={{kind: {objective}}}")
            )


def test_a_grid_of_one_is_chosen_as_soon_as_it_is_looked_at(tmp_path, teacher):
    result = run(tmp_path, "minidisc", (*teacher, *RACE, "schedule.scales=[50]"))
    assert [(check.step, check.choice, check.reason) for check in result.race] == [(0, 50, "only_one")]


def test_what_learns_nothing_goes_without_an_assistant_at_the_limit(tmp_path, teacher):
    """A teacher that is far above all candidates to the end, and a lambda that gives them nothing for their size."""
    overrides = (*teacher, *RACE, "distil.learning_rate=1e-30", "schedule.selection.lam=0")
    prepared = prepared_run(tmp_path, "minidisc", overrides)
    result = run_in_process(prepared)
    last = result.race[-1]
    times = CheckTimes(-(-len(prepared.train) // 16), 6)
    assert not last.has_learned
    assert (last.step, last.choice, last.reason) == (times.latest_unlearned_step, TEACHER_PERCENT, "not_learned")
    assert last.alive == ()
    assert result.assistants[0].scale_percent == TEACHER_PERCENT
    assert result.assistants[0].validation_metrics == result.teacher.validation_metrics


@pytest.mark.parametrize("student", ["{kind: layers, num_layers: 1, width_percent: 20}"])
def test_a_student_that_is_no_slice_is_distilled_in_full(tmp_path, teacher, student):
    result = run(tmp_path, "minidisc", (*teacher, *RACE, f"student={student}"))
    assert record_of(tmp_path, result, "student").num_epochs == 6
