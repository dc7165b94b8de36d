"""Which setting of a study's grid each method uses, by its student's score on the selection rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minidisc_ray.configs.study.study import Place
from minidisc_ray.core.task import selection_names
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome


@dataclass(frozen=True)
class Choice:
    """The runs of a grid at one place of the study, and what was chosen by them.

    Attributes:
        place: teacher, task, method and scale.
        runs: of each setting, in the grid's order; settings with equal recipes share one.
        chosen: the setting's place in the grid; None while a run is open, or if none finished.
        failure: why there will be none: every run failed.
    """

    place: Place
    runs: tuple[Outcome, ...]
    chosen: int | None
    failure: str | None = None

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The score that each setting was chosen by; None without a result."""
        return tuple(None if run.result is None else selection_score(run.result) for run in self.runs)

    @property
    def chosen_result(self) -> RunResult | None:
        """The result of the chosen setting's run, with the grid's seed."""
        return None if self.chosen is None else self.runs[self.chosen].result

    @property
    def unused(self) -> list[RunResult]:
        """The finished runs of the settings that were not chosen, each once; without a choice none."""
        if self.chosen is None:
            return []
        used = self.runs[self.chosen].name
        found = {run.name: run.result for run in self.runs if run.name != used and run.result is not None}
        return list(found.values())


def choices_of(outcomes: Sequence[Outcome]) -> list[Choice]:
    """Choose a setting for each place whose runs are over: the best score; of equal ones the first in the grid.

    A run that failed takes no part. The seed and the number of rows are one run's: between settings whose scores
    differ by less than the rows can show, the choice is chance.

    Args:
        outcomes: of a grid's runs, in the order of the grid.
    """
    by_place: dict[Place, list[Outcome]] = {}
    for one in outcomes:
        by_place.setdefault(one.cell.place, []).append(one)
    return [_choice(place, tuple(runs)) for place, runs in by_place.items()]


def every_outcome(outcomes: Sequence[Outcome], choices: Sequence[Choice]) -> dict[str, Outcome]:
    """The outcome of each run of a study by its name: the grid's, then the others.

    Args:
        outcomes: of the study's cells. With the grid's seed, those whose setting is not chosen are none of these runs.
        choices: of a study with a grid.
    """
    searched = [run for choice in choices for run in choice.runs]
    seeds = {run.cell.seed for run in searched}
    own = [one for one in outcomes if one.cell.setting is not None or one.cell.seed not in seeds]
    return {one.name: one for one in (*searched, *own)}


def selection_score(result: RunResult) -> float | None:
    """The student's score on the selection rows, by the metrics that choices use; None if the result lacks one."""
    metrics = result.student.selection_metrics
    names = selection_names(result.selection_metric or result.primary_metric)
    if any(name not in metrics for name in names):
        return None
    return sum(metrics[name] for name in names) / len(names)


def _choice(place: Place, runs: tuple[Outcome, ...]) -> Choice:
    if any(run.result is None and run.failure is None for run in runs):
        return Choice(place, runs, None)
    scores = Choice(place, runs, None).scores
    if all(score is None for score in scores):
        reasons = [run.failure or "its result has no score on the selection rows" for run in runs]
        return Choice(place, runs, None, f"no setting of the grid finished: {reasons[0]}")
    return Choice(place, runs, max(range(len(runs)), key=lambda number: _or_least(scores[number])))


def _or_least(score: float | None) -> float:
    return -math.inf if score is None else score
