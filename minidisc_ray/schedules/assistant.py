"""Distillation through one assistant at a given scale (TA)."""

from minidisc_ray.schedules.plan import MAIN_TRIAL, STUDENT, TEACHER, DistilStep, Plan, Trial


def plan_assistant(assistant_percent: int, student_percent: int) -> Plan:
    """Teacher to assistant to student."""
    return Plan(trials=(through_assistant(MAIN_TRIAL, assistant_percent, student_percent),))


def through_assistant(name: str, assistant_percent: int, student_percent: int) -> Trial:
    """The trial T -> A -> S."""
    steps = (
        DistilStep(TEACHER, assistant_percent, "assistant"),
        DistilStep(assistant_percent, student_percent, STUDENT),
    )
    return Trial(name, steps, assistant_percent)
