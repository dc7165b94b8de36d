"""The plan of a run that decides by itself whether to use an assistant."""

import pytest

from minidisc_ray.configs import resolve
from minidisc_ray.schedules import build_plan
from minidisc_ray.schedules.plan import DecideStep, DistilStep
from minidisc_ray.schedules.training import last_epoch, num_trained


def config_of(schedule: str, *overrides: str):
    raw = {"data": {"kind": "builtin"}, "teacher": {"kind": "builtin"}}
    return resolve(raw, (f"schedule={schedule}", *overrides))


@pytest.mark.parametrize("then", ["assistant", "minidisc", "minidisc, search: race", "minidisc, residual: true"])
def test_a_probe_and_a_decision_come_before_the_steps_of_either_schedule(then):
    (trial,) = build_plan(config_of(f"{{kind: auto, then: {{kind: {then}}}}}")).trials
    (other,) = build_plan(config_of(f"{{kind: {then}}}")).trials
    probe, decision, *rest = trial.steps
    assert isinstance(decision, DecideStep)
    assert tuple(rest) == other.steps
    (conventional,) = build_plan(config_of("{kind: conventional}")).trials[0].steps
    first, second, student = trial.without_assistant().steps
    assert (first, second) == (probe, decision)
    assert (student.source, student.scale, student.name) == (
        conventional.source,
        conventional.scale,
        conventional.name,
    )
    assert probe.makes_student
    assert student.resumes == probe


@pytest.mark.parametrize(
    ("share", "epochs", "expected"), [("0.5", 10, 5), ("0.5", 5, 3), ("0.5", 1, 1), ("0.01", 10, 1), ("1", 10, 10)]
)
def test_the_probe_has_its_share_of_the_epochs_rounded_up_and_the_student_the_rest(share, epochs, expected):
    config = config_of(
        f"{{kind: auto, then: {{kind: assistant}}, probe_share: {share}}}", f"distil.num_epochs={epochs}"
    )
    (trial,) = build_plan(config).trials
    probe, student = trial.without_assistant().steps[0], trial.without_assistant().steps[-1]
    assert isinstance(probe, DistilStep)
    assert isinstance(student, DistilStep)
    assert (last_epoch(config, probe), num_trained(config, probe)) == (expected, expected)
    assert (last_epoch(config, student), num_trained(config, student)) == (epochs, epochs - expected)
