"""What a plan leaves open until the run chooses, as expected before it: used for sizes and closed-form FLOPs."""

from collections.abc import Collection, Iterator

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.race import FIRST_ROWS, CheckTimes, RaceEvent
from minidisc_ray.schedules.early_end import num_promoted
from minidisc_ray.schedules.plan import (
    TEACHER,
    CandidateStep,
    ChooseStep,
    ChosenScale,
    DistilStep,
    Plan,
    PruneStep,
    RaceStep,
    SandwichStep,
    Step,
    Trial,
)

_WINNER_TIMES_STUDENT = 2.5
_MAX_EARLY_PERCENT = 50


def expected_steps(plan: Plan, promoted: Collection[str] | None = None) -> Iterator[tuple[Trial, Step]]:
    """Every step that a run executes, without the trials that end after their probes.

    Args:
        plan: the run's plan.
        promoted: names of the trials that go on after their probes; by default those of :func:`expected_promoted`.
    """
    promoted = {trial.name for trial in expected_promoted(plan)} if promoted is None else promoted
    ended = {trial.name for trial in plan.trials if plan.probes} - set(promoted)
    yield from ((trial, step) for trial, step in plan.every_step() if trial.name not in ended)


def expected_promoted(plan: Plan) -> tuple[Trial, ...]:
    """The trials expected to run in full: as many as are promoted, spread evenly over the grid; all without probes."""
    if not plan.probes:
        return plan.trials
    count = num_promoted(len(plan.trials))
    return tuple(plan.trials[len(plan.trials) * (2 * place + 1) // (2 * count)] for place in range(count))


def expected_percent(plan: Plan, trial: Trial, source: str) -> int:
    """The expected scale, in percent, of the model that the step ``source`` of a trial leaves; 100 for the teacher."""
    if source == TEACHER:
        return TEACHER_PERCENT
    match trial.step(source):
        case ChooseStep(name=name):
            return _expected_choice(plan, trial, ChosenScale(name, 0))
        case DistilStep(scale=scale):
            return expected_scale(plan, trial, scale)
        case PruneStep(scale_percent=percent) | CandidateStep(scale_percent=percent):
            return percent
    raise AssertionError(f"{source} leaves no single model")


def expected_scale(plan: Plan, trial: Trial, scale: int | ChosenScale) -> int:
    """A step's scale: a fixed one, or the expected result of a choice."""
    return scale if isinstance(scale, int) else _expected_choice(plan, trial, scale)


def expected_sandwich(plan: Plan, trial: Trial, step: SandwichStep) -> SandwichStep:
    """A sandwich with only the candidates below its source's expected scale."""
    return step if step.source == TEACHER else step.below(expected_percent(plan, trial, step.source))


def expected_winner(race: RaceStep) -> int:
    """The candidate that a race is expected to choose: the one nearest to 2.5 times the student's scale."""
    return min(race.candidates, key=lambda scale: (abs(scale - _WINNER_TIMES_STUDENT * race.student_percent), scale))


def expected_events(race: RaceStep, times: CheckTimes, num_rows: int) -> tuple[RaceEvent, ...]:
    """A race's expected evaluations: it drops scales above 50% after the first, and chooses at 3/4 of its latest step.

    Args:
        race: the race.
        times: the steps of its evaluations.
        num_rows: the number of selection rows.
    """
    small = tuple(scale for scale in race.candidates if scale <= _MAX_EARLY_PERCENT) or race.candidates
    last = next(step for step in times.steps if 4 * step >= 3 * times.latest_step)
    events = [RaceEvent(0, race.candidates, min(num_rows, FIRST_ROWS))]
    for step in times.steps[1:]:
        rows = min(num_rows, 2 * events[-1].num_rows if len(events) > 1 else FIRST_ROWS)
        if step >= last:
            return (*events, RaceEvent(step, (expected_winner(race),), rows))
        events.append(RaceEvent(step, small, rows))
    raise AssertionError(times)


def _expected_choice(plan: Plan, trial: Trial, scale: ChosenScale) -> int:
    """The expected scale of a choice: choices divide the grid evenly, and a race has an expected winner."""
    choices = [step for step in trial.steps if isinstance(step, ChooseStep)]
    number = next(number for number, step in enumerate(choices) if step.name == scale.choice)
    choice = choices[number]
    if choice.sandwich is not None and isinstance(race := trial.step(choice.sandwich), RaceStep):
        return expected_winner(race)
    earlier = sum(step.num_chosen for step in choices[:number])
    total = earlier + choice.num_chosen + choice.num_below
    candidates = _candidates(plan, trial, choice)
    return candidates[len(candidates) * (earlier + scale.index + 1) // (total + 1)]


def _candidates(plan: Plan, trial: Trial, choice: ChooseStep) -> tuple[int, ...]:
    """The scales that a choice is made from."""
    if choice.sandwich is None:
        return tuple(trial.assistant_percent for trial in plan.trials if trial.assistant_percent is not None)
    step = trial.step(choice.sandwich)
    assert isinstance(step, SandwichStep)
    return step.candidates
