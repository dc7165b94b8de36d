"""MiniDisc: one trial (section 3.3)."""

from minidisc_ray.configs.schedule import MiniDiscConfig
from minidisc_ray.core.grid import sample_evenly
from minidisc_ray.schedules.plan import CHOSEN, MAIN_TRIAL, STUDENT, ChooseStep, DistilStep, Plan, SandwichStep, Trial


def plan_minidisc(schedule: MiniDiscConfig, student_percent: int) -> Plan:
    """Sandwich, choice, distillation."""
    candidates = schedule.scales.scales(student_percent)
    trained = None
    if schedule.sampling == "fixed":
        trained = sample_evenly((*candidates, student_percent), schedule.num_sampled)
    steps = (
        SandwichStep(candidates, student_percent, trained, schedule.num_sampled, schedule.selection),
        ChooseStep(schedule.selection),
        DistilStep(CHOSEN, student_percent, STUDENT),
    )
    return Plan(trials=(Trial(MAIN_TRIAL, steps),))
