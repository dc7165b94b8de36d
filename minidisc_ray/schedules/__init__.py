"""Turns a recipe's schedule into a plan of steps; no tensors, no files."""

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import (
    AssistantConfig,
    AutoConfig,
    ConventionalConfig,
    LawConfig,
    MaxiDiscConfig,
    MiniDiscConfig,
    SparseTeacherConfig,
)
from minidisc_ray.schedules.auto import plan_auto
from minidisc_ray.schedules.maxidisc import plan_maxidisc
from minidisc_ray.schedules.minidisc import plan_minidisc
from minidisc_ray.schedules.plan import (
    MAIN_TRIAL,
    STUDENT,
    TEACHER,
    DistilStep,
    Plan,
    PruneStep,
    Trial,
    through_assistant,
)

__all__ = ["Plan", "build_plan"]


def build_plan(config: RunConfig) -> Plan:
    """The plan of a recipe's schedule."""
    student = config.student_percent
    match config.schedule:
        case ConventionalConfig():
            return Plan(trials=(Trial(MAIN_TRIAL, (DistilStep(TEACHER, student, STUDENT),)),))
        case SparseTeacherConfig():
            pruning = PruneStep(config.schedule.teacher_percent)
            return Plan(trials=(Trial(MAIN_TRIAL, (pruning, DistilStep(pruning.name, student, STUDENT))),))
        case AssistantConfig() | LawConfig():
            percent = config.schedule.assistant_percent
            assert percent is not None, "the law's scale must be filled in before the plan is built"
            return Plan(trials=(through_assistant(MAIN_TRIAL, percent, student),))
        case MiniDiscConfig():
            return plan_minidisc(config.schedule, student, config.student.kind == "pruned")
        case MaxiDiscConfig():
            return plan_maxidisc(config.schedule, student)
        case AutoConfig():
            return plan_auto(config.schedule, student, build_plan(config.with_schedule(config.schedule.then)))
