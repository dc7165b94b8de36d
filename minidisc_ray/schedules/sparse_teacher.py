"""Distillation from a teacher that was pruned and not trained again (after StarK)."""

from minidisc_ray.schedules.plan import MAIN_TRIAL, STUDENT, DistilStep, Plan, PruneStep, Trial


def plan_sparse_teacher(teacher_percent: int, student_percent: int) -> Plan:
    """Teacher to sparse teacher by pruning alone, then to student."""
    pruning = PruneStep(teacher_percent)
    return Plan(trials=(Trial(MAIN_TRIAL, (pruning, DistilStep(pruning.name, student_percent, STUDENT))),))
