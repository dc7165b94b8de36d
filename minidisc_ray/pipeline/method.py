"""What a result calls its method, its selection rule and its teacher."""

from pathlib import Path

from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.configs.schedule import ConventionalConfig, LawConfig, MaxiDiscConfig, MiniDiscConfig, ScheduleConfig
from minidisc_ray.configs.selection import (
    LambdaSelectionConfig,
    NegativeDerivativeSelectionConfig,
    StudentSelectionConfig,
)
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.result import Method


def method_of(schedule: ScheduleConfig) -> Method:
    """The schedule's kind; a conventional one with matched cost is a method of its own."""
    is_matched = isinstance(schedule, ConventionalConfig) and schedule.match is not None
    return "matched" if is_matched else schedule.kind


def selection_rule(schedule: ScheduleConfig) -> str | None:
    """The rule that chose the assistant, in words; None if none was chosen."""
    if isinstance(schedule, LawConfig):
        return f"the encoder nearest to {schedule.times_student:g} times the student's"
    if not isinstance(schedule, MiniDiscConfig | MaxiDiscConfig):
        return None
    match schedule.selection:
        case StudentSelectionConfig():
            return "best student on the selection split"
        case LambdaSelectionConfig(lam=lam):
            is_race = isinstance(schedule, MiniDiscConfig) and schedule.search == "race"
            return f"λ-tradeoff with λ = {lam:g}" + (", in a race" if is_race else "")
        case NegativeDerivativeSelectionConfig(order=order):
            return "negative derivative" + (f" of order {order}" if order > 1 else "")


def teacher_source(prepared: PreparedRun) -> str:
    """Where the teacher is from, and whether this run fine-tuned it."""
    teacher = prepared.config.teacher
    if not isinstance(teacher, PretrainedTeacherConfig):
        return "built in, trained here"
    return f"{Path(teacher.path).name}, {'used as it is' if prepared.teacher_is_fine_tuned else 'fine-tuned here'}"
