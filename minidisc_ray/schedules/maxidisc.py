"""MaxiDisc: every scale in full, one trial each; and its ablations on the way to MiniDisc (table 5)."""

from minidisc_ray.configs.schedule import LambdaSelectionConfig, MaxiDiscConfig, StudentSelectionConfig
from minidisc_ray.schedules.early_end import probe_of
from minidisc_ray.schedules.plan import (
    STUDENT,
    CandidateStep,
    ChooseStep,
    DistilStep,
    Plan,
    SandwichStep,
    Trial,
    through_assistant,
    to_assistant,
)

_LAST_TRIAL = "chosen"


def plan_maxidisc(schedule: MaxiDiscConfig, student_percent: int) -> Plan:
    """As many trials T -> A -> S as there are candidates, or the parts of them that an ablation leaves."""
    scales = schedule.scales.scales(student_percent)
    if schedule.assistants == "sandwich":
        return _with_sandwich(schedule, scales, student_percent)
    if isinstance(schedule.selection, StudentSelectionConfig):
        trials = tuple(through_assistant(_name(scale), scale, student_percent) for scale in scales)
        # With one scale there is nothing to end.
        is_probed = schedule.early_end is not None and len(scales) > 1
        return Plan(trials, probes=tuple(map(probe_of, trials)) if is_probed else ())
    # Every assistant is trained by itself, but only the one with the best trade-off is distilled to a student.
    choice = ChooseStep(schedule.selection, sandwich=None)
    return Plan(
        trials=tuple(Trial(_name(scale), (to_assistant(scale),), scale) for scale in scales),
        after=Trial(_LAST_TRIAL, (choice, DistilStep(choice.name, student_percent, STUDENT))),
    )


def _with_sandwich(schedule: MaxiDiscConfig, scales: tuple[int, ...], student_percent: int) -> Plan:
    """One sandwich for all assistants, then a student from each of them."""
    sandwich = SandwichStep(
        candidates=scales,
        student_percent=student_percent,
        num_sampled=schedule.num_sampled,
        sampling=schedule.sampling,
        # No assistant is chosen: the kept state is the one that would have led to the best choice.
        rule=LambdaSelectionConfig(),
    )
    trials = []
    for scale in scales:
        candidate = CandidateStep(scale)
        steps = (candidate, DistilStep(candidate.name, student_percent, STUDENT))
        trials.append(Trial(_name(scale), steps, scale))
    return Plan(trials=tuple(trials), before=(sandwich,))


def _name(scale: int) -> str:
    return f"scale-{scale:02d}"
