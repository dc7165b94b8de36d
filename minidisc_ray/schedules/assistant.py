"""Distillation through one assistant at a given scale (TA)."""

from minidisc_ray.schedules.plan import MAIN_TRIAL, STUDENT, TEACHER, DistilStep, Plan, Trial


def plan_assistant(assistant_percent: int, student_percent: int) -> Plan:
    """Teacher to assistant to student."""
    return Plan(trials=(through_assistant(MAIN_TRIAL, assistant_percent, student_percent),))


def through_assistant(name: str, assistant_percent: int, student_percent: int) -> Trial:
    """The trial T -> A -> S."""
    assistant = to_assistant(assistant_percent)
    return Trial(name, (assistant, DistilStep(assistant.name, student_percent, STUDENT)), assistant_percent)


def to_assistant(assistant_percent: int) -> DistilStep:
    """The step T -> A."""
    return DistilStep(TEACHER, assistant_percent, "assistant")
