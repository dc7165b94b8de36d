import pytest

from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.selection import LambdaSelectionConfig, NegativeDerivativeSelectionConfig
from minidisc_ray.schedules import Plan, build_plan
from minidisc_ray.schedules.plan import (
    TEACHER,
    ChooseStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    SandwichStep,
    TeacherStep,
    Trial,
)

SHARED = (TeacherStep(), ImportanceStep())


def plan_of(student=10, **schedule) -> Plan:
    return build_plan(resolve({"schedule": schedule, "student": {"scale_percent": student}}))


def test_conventional_goes_straight_to_the_student():
    plan = plan_of(kind="conventional")
    assert plan == Plan((Trial("main", (DistilStep(TEACHER, 10, "student"),)),), SHARED)
    assert not plan.is_sweep


def test_assistant_goes_through_one_scale():
    plan = plan_of(kind="assistant", assistant_percent=40)
    steps = (DistilStep(TEACHER, 40, "assistant"), DistilStep("assistant", 10, "student"))
    assert plan == Plan((Trial("main", steps, 40),), SHARED)
    assert not plan.is_sweep


def test_a_sparse_teacher_is_pruned_and_then_distilled_from_once():
    plan = plan_of(kind="sparse_teacher", teacher_percent=80)
    assert plan == Plan((Trial("main", (PruneStep(80), DistilStep("sparse_teacher", 10, "student"))),), SHARED)
    assert not plan.is_sweep


def test_minidisc_is_one_trial_of_sandwich_choice_and_one_distillation():
    candidates, rule = tuple(range(95, 10, -5)), LambdaSelectionConfig(lam=0.2)
    steps = (
        SandwichStep(candidates, 10, num_sampled=6, sampling="fixed", rule=rule),
        ChooseStep(rule),
        DistilStep("choose", 10, "student"),
    )
    plan = plan_of(kind="minidisc")
    assert plan == Plan((Trial("main", steps),), SHARED)
    assert steps[0].scales == (*candidates, 10)
    assert steps[0].trained == (95, 80, 60, 45, 25, 10)
    assert not plan.is_sweep


def test_minidisc_that_draws_each_step_fixes_no_subset():
    plan = plan_of(
        kind="minidisc",
        sampling="per_step",
        num_sampled=3,
        scales={"kind": "list", "values": [30, 60]},
        selection={"kind": "negative_derivative"},
    )
    (trial,) = plan.trials
    rule = NegativeDerivativeSelectionConfig()
    assert trial.steps[0] == SandwichStep((60, 30), 10, num_sampled=3, sampling="per_step", rule=rule)
    assert trial.steps[0].trained is None
    assert trial.steps[1] == ChooseStep(rule)


def test_minidisc_of_eta_one_trains_the_largest_alone():
    (trial,) = plan_of(kind="minidisc", num_sampled=1).trials
    assert trial.steps[0].trained == (95,)


def test_maxidisc_is_a_trial_for_each_scale():
    plan = plan_of(kind="maxidisc", scales={"kind": "list", "values": [5, 60, 30]}, student=4)
    assert [trial.name for trial in plan.trials] == ["scale-60", "scale-30", "scale-05"]
    assert [trial.assistant_percent for trial in plan.trials] == [60, 30, 5]
    assert plan.trials[1].steps == (DistilStep(TEACHER, 30, "assistant"), DistilStep("assistant", 4, "student"))
    assert plan.is_sweep
    assert plan.shared == SHARED


def test_maxidisc_of_one_scale_is_a_sweep_all_the_same():
    assert plan_of(kind="maxidisc", scales={"kind": "list", "values": [60]}).is_sweep


KINDS = ["conventional", "sparse_teacher", "assistant", "minidisc", "maxidisc"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_ends_with_the_student(kind):
    for trial in plan_of(kind=kind, student=20).trials:
        last = trial.steps[-1]
        assert (last.name, last.scale) == ("student", 20)
        assert [step for step in trial.steps if isinstance(step, DistilStep) and step.makes_student] == [last]


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_fewer_layers_has_the_same_plan_as_a_pruned_one_of_its_scale(kind):
    shallow = resolve({"schedule": {"kind": kind}, "student": {"kind": "layers", "num_layers": 4}})
    assert build_plan(shallow.with_student_scale(25)) == plan_of(kind=kind, student=25)
