"""Plans MaxiDisc, one full trial for each scale, and its ablations on the way to MiniDisc (table 5)."""

from minidisc_ray.configs.schedule import MaxiDiscConfig
from minidisc_ray.configs.selection import LambdaSelectionConfig, StudentSelectionConfig
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
    """One trial T -> A -> S for each candidate scale, or the parts of it that an ablation keeps."""
    scales = schedule.scales.scales(student_percent)
    if schedule.assistants == "sandwich":
        return _with_sandwich(schedule, scales, student_percent)
    if isinstance(schedule.selection, StudentSelectionConfig):
        trials = tuple(through_assistant(_name(scale), scale, student_percent) for scale in scales)
        # A single trial cannot be ended in favour of another.
        is_probed = schedule.early_end is not None and len(scales) > 1
        return Plan(trials, probes=tuple(map(probe_of, trials)) if is_probed else ())
    # Each assistant is distilled separately; only the one with the best trade-off is distilled to a student.
    choice = ChooseStep(schedule.selection, sandwich=None)
    return Plan(
        trials=tuple(Trial(_name(scale), (to_assistant(scale),), scale) for scale in scales),
        after=Trial(_LAST_TRIAL, (choice, DistilStep(choice.name, student_percent, STUDENT))),
    )


def _with_sandwich(schedule: MaxiDiscConfig, scales: tuple[int, ...], student_percent: int) -> Plan:
    """One sandwich trains all assistants; then one trial for each distils it to a student."""
    sandwich = SandwichStep(
        candidates=scales,
        student_percent=student_percent,
        num_sampled=schedule.num_sampled,
        sampling=schedule.sampling,
        # No assistant is chosen, but the rule still decides which epoch of the sandwich is kept.
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
