"""Schedules between conventional and MaxiDisc, as data."""

import pytest

from minidisc_ray.configs import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.selection import LambdaSelectionConfig, NegativeDerivativeSelectionConfig
from minidisc_ray.schedules import Plan, build_plan
from minidisc_ray.schedules.expected import expected_percent, expected_sandwich, expected_scale
from minidisc_ray.schedules.plan import TEACHER, CandidateStep, ChooseStep, ChosenScale, DistilStep, SandwichStep

GRID = {"kind": "list", "values": [80, 60, 40, 20]}
RULE = LambdaSelectionConfig()


def plan_of(**schedule) -> Plan:
    return build_plan(resolve({"schedule": {"scales": GRID, **schedule}}))


def label_of(**schedule) -> str:
    return resolve({"schedule": schedule}).schedule.label


def test_two_assistants_by_repetition_are_two_sandwiches_the_second_under_the_first_choice():
    (trial,) = plan_of(kind="minidisc", num_sampled=3, num_assistants=2).trials
    first, choice, second, again, student = trial.steps
    assert [step.name for step in trial.steps] == ["sandwich", "choose", "sandwich-2", "choose-2", "student"]
    assert (first.source, first.num_below) == (TEACHER, 1)
    assert choice == ChooseStep(RULE, "sandwich", num_below=1)
    assert (second.source, second.num_below) == ("choose", 0)
    assert again == ChooseStep(RULE, "sandwich-2", name="choose-2")
    assert student == DistilStep("choose-2", 10, "student")


def test_what_a_choice_leaves_is_trained_as_far_as_there_is_anything():
    step = SandwichStep((80, 60, 40, 20), 10, num_sampled=4, sampling="fixed", rule=RULE)
    left = step.below(60)
    assert left.candidates == (40, 20)
    assert left.scales == (40, 20, 10)
    assert left.trained == (40, 20, 10)
    assert step.trained == (80, 60, 20, 10)


def test_three_assistants_as_one_choice_are_distilled_one_from_another():
    (trial,) = plan_of(kind="minidisc", num_sampled=3, num_assistants=3, chain="joint").trials
    sandwich, choice, second, third, student = trial.steps
    assert isinstance(sandwich, SandwichStep)
    assert choice == ChooseStep(RULE, "sandwich", num_chosen=3)
    assert second == DistilStep("choose", ChosenScale("choose", 1), "assistant-2")
    assert third == DistilStep("assistant-2", ChosenScale("choose", 2), "assistant-3")
    assert student == DistilStep("assistant-3", 10, "student")


def test_residual_distillation_goes_on_with_the_student_under_the_teacher():
    (trial,) = plan_of(kind="minidisc", num_sampled=3, residual=True).trials
    first, last = trial.steps[-2:]
    assert first == DistilStep("choose", 10, "first_student")
    assert last == DistilStep(TEACHER, 10, "student", continues="first_student")
    assert first.makes_student
    assert last.makes_student


def test_maxidisc_with_a_tradeoff_trains_every_assistant_and_one_student():
    plan = plan_of(kind="maxidisc", selection={"kind": "negative_derivative"})
    assert [trial.steps for trial in plan.trials] == [
        (DistilStep(TEACHER, scale, "assistant"),) for scale in (80, 60, 40, 20)
    ]
    choice, student = plan.after.steps
    assert choice == ChooseStep(NegativeDerivativeSelectionConfig(), sandwich=None)
    assert student == DistilStep("choose", 10, "student")
    assert plan.ends == (plan.after,)
    assert [trial.name for trial in plan.all_trials()] == ["scale-80", "scale-60", "scale-40", "scale-20", "chosen"]


def test_maxidisc_with_a_sandwich_trains_the_assistants_once_and_every_student():
    plan = plan_of(kind="maxidisc", assistants="sandwich", num_sampled=3)
    (sandwich,) = plan.before
    assert sandwich.trained == (80, 40, 10)
    assert [trial.steps for trial in plan.trials] == [
        (CandidateStep(scale), DistilStep("assistant", 10, "student")) for scale in (80, 60, 40, 20)
    ]
    assert next(trial.name for trial in plan.all_trials()) == "shared"
    assert plan.ends == plan.trials


@pytest.mark.parametrize(("count", "expected"), [(1, [40]), (2, [60, 40]), (3, [60, 40, 20]), (4, [80, 60, 40, 20])])
@pytest.mark.parametrize("chain", ["repeated", "joint"])
def test_choices_are_expected_to_part_the_grid_evenly(count, expected, chain):
    plan = plan_of(kind="minidisc", num_sampled=3, num_assistants=count, chain=chain)
    (trial,) = plan.trials
    sources = [step.source for step in trial.steps if isinstance(step, DistilStep | SandwichStep)]
    percents = [expected_percent(plan, trial, source) for source in sources]
    assert percents == [100, *expected]
    for step in trial.steps:
        if isinstance(step, SandwichStep) and step.source != TEACHER:
            above = expected_percent(plan, trial, step.source)
            assert expected_sandwich(plan, trial, step).candidates == tuple(s for s in (80, 60, 40, 20) if s < above)
        if isinstance(step, DistilStep):
            assert expected_scale(plan, trial, step.scale) < expected_percent(plan, trial, step.source)


def test_a_choice_among_trials_is_expected_in_the_middle_of_them():
    plan = plan_of(kind="maxidisc", selection={"kind": "lambda"})
    assert expected_percent(plan, plan.after, "choose") == 40


@pytest.mark.parametrize(
    ("schedule", "label"),
    [
        ({"kind": "conventional"}, "Conventional"),
        (
            {"kind": "conventional", "match": {"kind": "minidisc", "scales": GRID, "num_sampled": 3}},
            "Conventional (compute-matched)",
        ),
        ({"kind": "assistant"}, "TA (40%)"),
        ({"kind": "law"}, "TA (2.5\N{MULTIPLICATION SIGN} law)"),
        ({"kind": "law", "assistant_percent": 25}, "TA (2.5\N{MULTIPLICATION SIGN} law, 25%)"),
        ({"kind": "minidisc"}, "MiniDisc"),
        ({"kind": "minidisc", "num_assistants": 2}, "MiniDisc (2 assistants)"),
        ({"kind": "minidisc", "num_assistants": 3, "chain": "joint"}, "MiniDisc (3 joint assistants)"),
        ({"kind": "minidisc", "residual": True, "selection": {"lam": 0.3}}, "MiniDisc (residual, λ = 0.3)"),
        ({"kind": "minidisc", "selection": {"kind": "negative_derivative"}}, "MiniDisc (ND)"),
        ({"kind": "minidisc", "num_sampled": 3}, "MiniDisc (η = 3)"),
        ({"kind": "maxidisc"}, "MaxiDisc"),
        ({"kind": "maxidisc", "selection": {"kind": "lambda"}}, "MaxiDisc with λ-tradeoff"),
        ({"kind": "maxidisc", "assistants": "sandwich"}, "MaxiDisc with sandwich"),
    ],
)
def test_every_variant_has_a_name_of_its_own(schedule, label):
    assert label_of(**schedule) == label


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({"kind": "minidisc", "scales": GRID, "num_sampled": 3, "num_assistants": 5}, "more than the 4 candidates"),
        ({"kind": "maxidisc", "assistants": "sandwich", "selection": {"kind": "lambda"}}, "is MiniDisc itself"),
        ({"kind": "maxidisc", "assistants": "sandwich", "scales": GRID}, "schedule.num_sampled: 6 is more than"),
        ({"kind": "conventional", "num_epochs": 3}, "num_epochs is 3, but it is computed from match"),
        ({"kind": "conventional", "match": {"kind": "maxidisc"}}, "schedule.match.kind"),
        ({"kind": "conventional", "match": {"kind": "minidisc", "scales": GRID}}, "match.num_sampled is missing"),
        ({"kind": "minidisc", "scales": 60}, "60 is not a grid; write a list"),
        ({"kind": "law", "scales": [60, 5]}, "5 is not strictly between"),
        ({"kind": "law", "assistant_percent": 33}, "33 is not among schedule.scales"),
        ({"kind": "law", "times_student": 1}, "schedule.times_student"),
    ],
)
def test_what_makes_no_sense_is_refused(schedule, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve({"schedule": schedule})
