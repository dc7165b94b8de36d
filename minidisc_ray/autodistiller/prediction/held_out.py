"""How well a predictor ranks configurations of a task it has not seen (Distiller, figures 3b and 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from minidisc_ray.autodistiller.tables.frame import OUTCOMES, configuration_keys

# Below, a correlation within a pair of student and teacher is mostly noise.
MIN_PAIR_ROWS: Final = 10
_LEVEL: Final = 0.95

Draw = np.ndarray  # places of rows


class Ranker(Protocol):
    """What is evaluated: anything that learns from rows of some tasks and scores rows of another."""

    def fit(self, frame: pd.DataFrame) -> "Ranker":
        """Learn from observations of several tasks."""

    def rank(self, frame: pd.DataFrame) -> np.ndarray:
        """Higher for configurations that are expected to be better; their outcomes are not in the frame."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A value with a 95% percentile interval over bootstrap draws of configurations, and those draws."""

    value: float
    low: float
    high: float
    draws: np.ndarray


@dataclass(frozen=True)
class Recommended:
    """The best configurations by prediction beside random ones, by what was recorded for them.

    Attributes:
        num_configurations: that could be recommended.
        top: mean over the recommended ones.
        random: mean over as many random ones, which is that over all.
        gain: ``top`` less ``random``.
        regret: the best recorded configuration less the best recommended one.
        random_regret: the same of as many random ones, on average.
    """

    num_configurations: int
    top: Measured
    random: Measured
    gain: Measured
    regret: Measured
    random_regret: Measured


def leave_one_task_out(frame: pd.DataFrame, make: Callable[[], Ranker]) -> pd.Series:
    """Each row's predicted rank value, by a predictor that has seen no row of its task."""
    ranks = pd.Series(np.nan, index=frame.index)
    for task in sorted(frame["task"].unique()):
        is_held_out = frame["task"] == task
        ranker = make().fit(frame[~is_held_out])
        ranks[is_held_out] = ranker.rank(frame[is_held_out].drop(columns=list(OUTCOMES)))
    return ranks


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where a side has the same value in all rows, as nothing is ranked then."""
    one, two = rankdata(first), rankdata(second)
    one, two = one - one.mean(), two - two.mean()
    scale = float(np.sqrt((one @ one) * (two @ two)))
    return float(one @ two) / scale if scale > 0 else 0.0


def task_correlations(
    frame: pd.DataFrame, ranks: pd.Series, target: str = "ratio_to_teacher", num_draws: int = 1000
) -> dict[str, Measured]:
    """Spearman's correlation of predicted and recorded values on each task."""
    return {str(task): _correlation(rows, ranks, target, num_draws) for task, rows in frame.groupby("task", sort=True)}


def pair_correlations(
    frame: pd.DataFrame, ranks: pd.Series, target: str = "ratio_to_teacher", num_draws: int = 1000
) -> dict[tuple[str, str, str], Measured]:
    """The same within each task's rows of one student and teacher, where these are ten or more.

    A predictor that knows the models alone has a correlation of 0 here.
    """
    return {
        (str(task), str(student), str(teacher)): _correlation(rows, ranks, target, num_draws)
        for (task, student, teacher), rows in frame.groupby(["task", "student", "teacher"], sort=True)
        if len(rows) >= MIN_PAIR_ROWS
    }


def recommended_against_random(
    frame: pd.DataFrame, ranks: pd.Series, target: str = "ratio_to_teacher", count: int = 5, num_draws: int = 1000
) -> dict[str, Recommended]:
    """The top configurations of each task with more than ``count`` against random ones (figure 3b).

    Rows that repeat a configuration are averaged first. Draws resample the configurations, of which the top ones are
    then picked again.
    """
    found = {}
    known = frame[frame[target].notna()]
    for task, rows in known.groupby("task", sort=True):
        by_configuration = pd.DataFrame({"rank": ranks[rows.index], "value": rows[target]}).groupby(
            configuration_keys(rows)
        )
        means = by_configuration.mean()
        predicted, recorded = means["rank"].to_numpy(), means["value"].to_numpy()
        if len(means) <= count:
            continue
        generator = np.random.default_rng(0)
        draws = [generator.integers(len(means), size=len(means)) for _ in range(num_draws)]
        columns = np.array([_picked(predicted[draw], recorded[draw], count) for draw in draws])
        point = _picked(predicted, recorded, count)
        measured = [measured_by(value, columns[:, place]) for place, value in enumerate(point)]
        found[str(task)] = Recommended(len(means), *measured)
    return found


def mean_of(measured: Sequence[Measured]) -> Measured:
    """The mean of several; its interval treats their tasks as given."""
    draws = np.mean([one.draws for one in measured], axis=0)
    return measured_by(float(np.mean([one.value for one in measured])), draws)


def measured_by(value: float, draws: np.ndarray) -> Measured:
    """A value with the interval of draws."""
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Measured(value, float(low), float(high), draws)


def _picked(predicted: np.ndarray, recorded: np.ndarray, count: int) -> tuple[float, ...]:
    """Means of top and random, their difference, and the regrets of both."""
    top = recorded[np.argsort(-predicted, kind="stable")[:count]]
    ascending = np.sort(recorded)
    # The largest of `count` random ones without replacement is the place-th smallest with these chances.
    num = len(ascending)
    chances = np.ones(num)
    below = np.arange(num)
    for step in range(count):
        chances *= (below + 1 - step).clip(0) / (num - step)
    expected_best = float(np.diff(chances, prepend=0.0) @ ascending)
    mean, best = float(recorded.mean()), float(ascending[-1])
    top_mean = float(top.mean())
    return top_mean, mean, top_mean - mean, best - float(top.max()), best - expected_best


def _correlation(rows: pd.DataFrame, ranks: pd.Series, target: str, num_draws: int) -> Measured:
    predicted, recorded = ranks[rows.index].to_numpy(), rows[target].to_numpy()
    keys = configuration_keys(rows).to_numpy()
    members = [np.flatnonzero(keys == key) for key in np.unique(keys)]
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(num_draws):
        chosen = np.concatenate([members[one] for one in generator.integers(len(members), size=len(members))])
        draws.append(spearman(predicted[chosen], recorded[chosen]))
    return measured_by(spearman(predicted, recorded), np.array(draws))
