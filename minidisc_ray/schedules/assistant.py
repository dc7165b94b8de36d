"""Distillation through one assistant at a given scale (TA)."""

from minidisc_ray.schedules.plan import STUDENT, TEACHER, DistilStep, Trial


def through_assistant(name: str, assistant_percent: int, student_percent: int) -> Trial:
    """The trial T -> A -> S."""
    assistant = to_assistant(assistant_percent)
    return Trial(name, (assistant, DistilStep(assistant.name, student_percent, STUDENT)), assistant_percent)


def to_assistant(assistant_percent: int) -> DistilStep:
    """The step T -> A."""
    return DistilStep(TEACHER, assistant_percent, "assistant")
