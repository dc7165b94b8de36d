"""Plans a run that decides by itself whether an assistant is worth its cost.

The first epochs of the conventional distillation are the probe. If its student is near the teacher, that distillation
goes on to its end, so that nothing was wasted; else the schedule with an assistant starts from its beginning.
"""

from dataclasses import replace

from minidisc_ray.configs.schedule import AutoConfig
from minidisc_ray.schedules.plan import PROBE, STUDENT, TEACHER, DecideStep, DistilStep, Plan


def plan_auto(schedule: AutoConfig, student_percent: int, with_assistant: Plan) -> Plan:
    """Probe, decision, then the steps of the schedule with an assistant: the dearer of the two ways.

    :meth:`~minidisc_ray.schedules.plan.Trial.without_assistant` is the other one.

    Args:
        schedule: the recipe's schedule.
        student_percent: the student's scale.
        with_assistant: the plan of ``schedule.then``, which has one trial.
    """
    probe = DistilStep(TEACHER, student_percent, PROBE, stop_share=schedule.probe_share)
    conventional = DistilStep(TEACHER, student_percent, STUDENT, resumes=probe)
    decision = DecideStep(schedule.min_gap_points, (conventional,))
    (trial,) = with_assistant.trials
    return replace(with_assistant, trials=(replace(trial, steps=(probe, decision, *trial.steps)),))
