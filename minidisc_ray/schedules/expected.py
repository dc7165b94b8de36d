"""Scales that only the run itself will know, as they are expected before it: for sizes and closed forms."""

from collections.abc import Collection, Iterator

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.race import FIRST_ROWS, CheckTimes, RaceEvent
from minidisc_ray.schedules.early_end import num_that_go_on
from minidisc_ray.schedules.plan import (
    TEACHER,
    CandidateStep,
    ChooseStep,
    DistilStep,
    Place,
    Plan,
    PruneStep,
    RaceStep,
    SandwichStep,
    Step,
    Trial,
)

_TIMES_STUDENT = 2.5
_MOST_PERCENT = 50


def expected_steps(plan: Plan, going_on: Collection[str] | None = None) -> Iterator[tuple[Trial, Step]]:
    """Every step that a run needs, without trials that end after their probes.

    Args:
        plan: of the run.
        going_on: names of the trials that do not; by default those of :func:`expected_going_on`.
    """
    kept = {trial.name for trial in expected_going_on(plan)} if going_on is None else going_on
    ended = {trial.name for trial in plan.trials if plan.probes} - set(kept)
    yield from ((trial, step) for trial, step in plan.every_step() if trial.name not in ended)


def expected_going_on(plan: Plan) -> tuple[Trial, ...]:
    """As many trials as go on after their probes, spread evenly over the grid; all where none has a probe."""
    if not plan.probes:
        return plan.trials
    count = num_that_go_on(len(plan.trials))
    return tuple(plan.trials[len(plan.trials) * (2 * place + 1) // (2 * count)] for place in range(count))


def expected_percent(plan: Plan, trial: Trial, source: str) -> int:
    """The scale of the model that a step of a trial will leave; the teacher's is 100."""
    if source == TEACHER:
        return TEACHER_PERCENT
    match trial.step(source):
        case ChooseStep(name=name):
            return _of_place(plan, trial, Place(name, 0))
        case DistilStep(scale=scale):
            return expected_scale(plan, trial, scale)
        case PruneStep(scale_percent=percent) | CandidateStep(scale_percent=percent):
            return percent
    raise AssertionError(f"{source} leaves no single model")


def expected_scale(plan: Plan, trial: Trial, scale: int | Place) -> int:
    """A scale that is given, or the one that a choice is expected to fall on."""
    return scale if isinstance(scale, int) else _of_place(plan, trial, scale)


def expected_sandwich(plan: Plan, trial: Trial, step: SandwichStep) -> SandwichStep:
    """A sandwich with the candidates that are expected to be left to it."""
    return step if step.source == TEACHER else step.below(expected_percent(plan, trial, step.source))


def expected_winner(race: RaceStep) -> int:
    """The candidate that a race is expected to choose: the one nearest to 2.5 times the student's scale."""
    return min(race.candidates, key=lambda scale: (abs(scale - _TIMES_STUDENT * race.student_percent), scale))


def expected_events(race: RaceStep, times: CheckTimes, num_rows: int) -> tuple[RaceEvent, ...]:
    """What a race is expected to do: leave out what is above 50% early on, and choose at 3/4 of the latest moment.

    Args:
        race: the step.
        times: of its evaluations.
        num_rows: selection rows.
    """
    small = tuple(scale for scale in race.candidates if scale <= _MOST_PERCENT) or race.candidates
    last = next(step for step in times.steps if 4 * step >= 3 * times.latest_step)
    events = [RaceEvent(0, race.candidates, min(num_rows, FIRST_ROWS))]
    for step in times.steps[1:]:
        rows = min(num_rows, 2 * events[-1].num_rows if len(events) > 1 else FIRST_ROWS)
        if step >= last:
            return (*events, RaceEvent(step, (expected_winner(race),), rows))
        events.append(RaceEvent(step, small, rows))
    raise AssertionError(times)


def _of_place(plan: Plan, trial: Trial, place: Place) -> int:
    """Choices are expected to part the grid evenly: one falls on its middle; a race's on what is usual there."""
    choices = [step for step in trial.steps if isinstance(step, ChooseStep)]
    index = next(number for number, step in enumerate(choices) if step.name == place.choose)
    choice = choices[index]
    if choice.sandwich is not None and isinstance(race := trial.step(choice.sandwich), RaceStep):
        return expected_winner(race)
    earlier = sum(step.num_chosen for step in choices[:index])
    total = earlier + choice.num_chosen + choice.num_below
    candidates = _candidates(plan, trial, choice)
    return candidates[len(candidates) * (earlier + place.place + 1) // (total + 1)]


def _candidates(plan: Plan, trial: Trial, choice: ChooseStep) -> tuple[int, ...]:
    """The whole grid that a choice is made from."""
    if choice.sandwich is None:
        return tuple(trial.assistant_percent for trial in plan.trials if trial.assistant_percent is not None)
    step = trial.step(choice.sandwich)
    assert isinstance(step, SandwichStep)
    return step.candidates
