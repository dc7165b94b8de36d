"""What ``schedule.kind: law`` picked, beside what its rule asks for."""

from minidisc_ray.configs.schedule import LawConfig
from minidisc_ray.core.flops import encoder_parameters
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.schedules.plan import DistilStep

# As a share of the multiple that is asked for: more is another assistant than the one that was measured.
_NEAR = 0.25


def law_sentence(prepared: PreparedRun) -> str | None:
    """The law's assistant and how many times the student's encoder it has; None for another schedule."""
    found = _found(prepared)
    if found is None:
        return None
    schedule, times = found
    return (
        f"law: {schedule.assistant_percent}% is the candidate nearest to {schedule.times_student:g} times the "
        f"student's encoder: {times:.1f} times"
    )


def law_warning(prepared: PreparedRun) -> str | None:
    """A sentence if no candidate is near to what the law asks for; else None."""
    found = _found(prepared)
    if found is None:
        return None
    schedule, times = found
    if abs(times / schedule.times_student - 1) <= _NEAR:
        return None
    return (
        f"the law asks for an assistant of {schedule.times_student:g} times the student's encoder, and its nearest "
        f"candidate, {schedule.assistant_percent}%, has {times:.1f} times; change scales or times_student, or use "
        "another schedule"
    )


def _found(prepared: PreparedRun) -> tuple[LawConfig, float] | None:
    """The law and the ratio of its assistant's encoder parameters to the student's, in the structures planned."""
    schedule = prepared.config.full_schedule
    if not isinstance(schedule, LawConfig) or schedule.assistant_percent is None:
        return None
    trial = prepared.plan.ends[0]
    last = trial.steps[-1]
    assert isinstance(last, DistilStep)
    # A student of some layers is cut from its assistant, so it is smaller than the one that the law compared.
    student = encoder_parameters(prepared.student_shape, prepared.expected_structure(trial, last))
    assistant = encoder_parameters(prepared.shape, prepared.structure(schedule.assistant_percent))
    return schedule, assistant / student
