"""From a config to a plan of steps; no tensors, no files."""

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import (
    AssistantConfig,
    ConventionalConfig,
    LawConfig,
    MaxiDiscConfig,
    MiniDiscConfig,
    SparseTeacherConfig,
)
from minidisc_ray.schedules.assistant import plan_assistant
from minidisc_ray.schedules.conventional import plan_conventional
from minidisc_ray.schedules.maxidisc import plan_maxidisc
from minidisc_ray.schedules.minidisc import plan_minidisc
from minidisc_ray.schedules.plan import Plan
from minidisc_ray.schedules.sparse_teacher import plan_sparse_teacher

__all__ = ["Plan", "build_plan"]


def build_plan(config: RunConfig) -> Plan:
    """The plan of a recipe's schedule."""
    student = config.student_percent
    match config.schedule:
        case ConventionalConfig():
            return plan_conventional(student)
        case SparseTeacherConfig():
            return plan_sparse_teacher(config.schedule.teacher_percent, student)
        case AssistantConfig():
            return plan_assistant(config.schedule.assistant_percent, student)
        case LawConfig():
            percent = config.schedule.assistant_percent
            assert percent is not None, "the law's scale is asked for before the sizes of the models are known"
            return plan_assistant(percent, student)
        case MiniDiscConfig():
            return plan_minidisc(config.schedule, student, config.student.kind == "pruned")
        case MaxiDiscConfig():
            return plan_maxidisc(config.schedule, student)
