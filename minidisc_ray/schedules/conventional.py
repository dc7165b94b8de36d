"""Conventional distillation: no assistant."""

from minidisc_ray.schedules.plan import MAIN_TRIAL, STUDENT, TEACHER, DistilStep, Plan, Trial


def plan_conventional(student_percent: int) -> Plan:
    """Teacher to student."""
    return Plan(trials=(Trial(MAIN_TRIAL, (DistilStep(TEACHER, student_percent, STUDENT),)),))
