"""MaxiDisc: every scale in full, one trial each."""

from minidisc_ray.configs.schedule import MaxiDiscConfig
from minidisc_ray.schedules.assistant import through_assistant
from minidisc_ray.schedules.plan import Plan


def plan_maxidisc(schedule: MaxiDiscConfig, student_percent: int) -> Plan:
    """As many trials T -> A -> S as there are candidates."""
    scales = schedule.scales.scales(student_percent)
    return Plan(trials=tuple(through_assistant(f"scale-{scale:02d}", scale, student_percent) for scale in scales))
