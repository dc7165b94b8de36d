"""Plans MiniDisc: one trial (section 3.3), with one assistant or several (section 1: "recursively applying")."""

from dataclasses import replace

from minidisc_ray.configs.schedule import MiniDiscConfig
from minidisc_ray.schedules.plan import (
    FIRST_STUDENT,
    MAIN_TRIAL,
    STUDENT,
    TEACHER,
    ChooseStep,
    ChosenScale,
    DistilStep,
    OwnStep,
    Plan,
    RaceStep,
    SandwichStep,
    Trial,
)


def plan_minidisc(schedule: MiniDiscConfig, student_percent: int, is_pruned: bool = True) -> Plan:
    """Sandwich, choice, distillation; then a second distillation, from the teacher, if it is residual (appendix L).

    Args:
        schedule: the recipe's schedule.
        student_percent: the student's scale.
        is_pruned: whether the student is pruned from the teacher like the sandwich's slices; only then can it start
            from a race's slice.
    """
    if schedule.search == "race":
        return _plan_race(schedule, student_percent, is_pruned)
    chain = _joint_chain if schedule.chain == "joint" else _repeated_chain
    steps = chain(schedule, student_percent)
    last = steps[-1].name
    if schedule.residual:
        steps += [
            DistilStep(last, student_percent, FIRST_STUDENT),
            DistilStep(TEACHER, student_percent, STUDENT, continues=FIRST_STUDENT),
        ]
    else:
        steps.append(DistilStep(last, student_percent, STUDENT))
    return Plan(trials=(Trial(MAIN_TRIAL, tuple(steps)),))


def _plan_race(schedule: MiniDiscConfig, student_percent: int, is_pruned: bool) -> Plan:
    """The race chooses the assistant; the student starts from the race's slice and learns from that assistant."""
    race = RaceStep(
        candidates=schedule.scales.scales(student_percent),
        student_percent=student_percent,
        num_sampled=schedule.num_sampled,
        sampling="per_step",
        rule=schedule.selection,
        in_place=schedule.in_place,
    )
    choice = ChooseStep(schedule.selection, race.name)
    student = DistilStep(choice.name, student_percent, STUDENT)
    if is_pruned:
        student = replace(student, slice_of=race.name, epoch_share=schedule.student_share)
    return Plan(trials=(Trial(MAIN_TRIAL, (race, choice, student)),))


def _repeated_chain(schedule: MiniDiscConfig, student_percent: int) -> list[OwnStep]:
    """A sandwich and a choice for each assistant; each chosen assistant teaches the next sandwich."""
    steps: list[OwnStep] = []
    source, count = TEACHER, schedule.num_assistants
    for number in range(1, count + 1):
        suffix = "" if number == 1 else f"-{number}"
        sandwich = _sandwich(schedule, student_percent, source, 1, count - number, f"sandwich{suffix}")
        choice = ChooseStep(schedule.selection, sandwich.name, num_below=sandwich.num_below, name=f"choose{suffix}")
        steps += [sandwich, choice]
        source = choice.name
    return steps


def _joint_chain(schedule: MiniDiscConfig, student_percent: int) -> list[OwnStep]:
    """One sandwich and one choice of all assistants; each after the first is distilled from the one before."""
    count = schedule.num_assistants
    sandwich = _sandwich(schedule, student_percent, TEACHER, count, 0, "sandwich")
    choice = ChooseStep(schedule.selection, sandwich.name, num_chosen=count)
    steps: list[OwnStep] = [sandwich, choice]
    for index in range(1, count):
        steps.append(DistilStep(steps[-1].name, ChosenScale(choice.name, index), f"assistant-{index + 1}"))
    return steps


def _sandwich(
    schedule: MiniDiscConfig, student_percent: int, source: str, num_chosen: int, num_below: int, name: str
) -> SandwichStep:
    return SandwichStep(
        candidates=schedule.scales.scales(student_percent),
        student_percent=student_percent,
        num_sampled=schedule.num_sampled,
        sampling=schedule.sampling,
        rule=schedule.selection,
        source=source,
        num_chosen=num_chosen,
        num_below=num_below,
        name=name,
    )
