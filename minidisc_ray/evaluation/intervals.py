"""Estimates with bootstrap replicates, and their percentile intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Over = Literal["examples", "seeds and examples"]


@dataclass(frozen=True)
class Resampling:
    """How replicates are drawn, and the level of their intervals.

    Attributes:
        num_replicates: number of draws.
        level: share of replicates between an interval's ends.
        seed: of the draws; unrelated to the seeds of runs.

    Raises:
        ValueError: if there are fewer than 2 replicates, or the level is not between 0 and 1.
    """

    num_replicates: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_replicates < 2:
            raise ValueError(f"num_replicates is {self.num_replicates}; draw at least 2, better 2000")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level is {self.level}; use a share between 0 and 1, such as 0.95")
        if self.seed < 0:
            raise ValueError(f"the resampling's seed is {self.seed}; use a whole number from 0")


DEFAULT_RESAMPLING = Resampling()


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with a percentile interval.

    With one seed the interval covers variation over examples only, with several over seeds and examples. Then it has
    two known errors. It is too short if most of the spread is between seeds, of which two to five are too few to show
    it. It is too wide if models differ at random from row to row, as that part is counted three times (Owen, "The
    pigeonhole bootstrap", 2007).

    Attributes:
        mean: on all rows, averaged over the seeds (and the tasks).
        low: lower end.
        high: upper end.
        level: share of replicates between them.
        half_width: half the distance between them.
        lower_bound: the one-sided lower bound: the same share of replicates lies above it.
        excludes_zero: whether both ends are on one side of zero.
        num_seeds: runs of each method; the smallest number if there are several tasks.
        num_examples: resampled rows of all tasks.
        num_tasks: tasks that were averaged.
        over: what was resampled.
    """

    mean: float
    low: float
    high: float
    level: float
    half_width: float
    lower_bound: float
    excludes_zero: bool
    num_seeds: int
    num_examples: int
    num_tasks: int
    over: Over


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its bootstrap replicates, which can be subtracted, averaged over tasks and turned into an interval.

    Attributes:
        point: on all rows, averaged over all seeds.
        replicates: (B,) the same value on each draw.
        num_seeds: as in ``Interval``.
        num_examples: as in ``Interval``.
        num_tasks: as in ``Interval``.
        resampling: how the replicates were drawn.
        drawn_from: identifies rows and seeds; only estimates with equal ones are paired.
    """

    point: float
    replicates: np.ndarray
    num_seeds: int
    num_examples: int
    num_tasks: int
    resampling: Resampling
    drawn_from: tuple[tuple[int, ...], ...]

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The paired difference.

        Raises:
            ValueError: if the two were not drawn from the same rows and seeds in the same way.
        """
        if (self.drawn_from, self.resampling) != (other.drawn_from, other.resampling):
            raise ValueError("the two estimates differ in rows, seeds or draws, so their difference is not paired")
        return Estimate(
            self.point - other.point,
            self.replicates - other.replicates,
            self.num_seeds,
            self.num_examples,
            self.num_tasks,
            self.resampling,
            self.drawn_from,
        )

    @property
    def bias(self) -> float:
        """The bootstrap estimate of the point's bias: the mean of the replicates less the point."""
        return float(self.replicates.mean()) - self.point

    def interval(self) -> Interval:
        """The percentile interval at the resampling's level."""
        low, high = percentile_ends(self.replicates, self.resampling.level)
        return Interval(
            mean=self.point,
            low=low,
            high=high,
            level=self.resampling.level,
            half_width=(high - low) / 2,
            lower_bound=float(np.quantile(self.replicates, 1 - self.resampling.level)),
            excludes_zero=low > 0 or high < 0,
            num_seeds=self.num_seeds,
            num_examples=self.num_examples,
            num_tasks=self.num_tasks,
            over=resampled_over(self.num_seeds),
        )


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over tasks, replicate by replicate; the draws of tasks are independent, as their rows differ.

    Raises:
        ValueError: if there is no estimate, or they were not drawn in the same way.
    """
    if not estimates:
        raise ValueError("there is no task to average over")
    if len({each.resampling for each in estimates}) != 1:
        raise ValueError("the tasks' estimates differ in number of replicates, level or seed of the draws")
    return Estimate(
        float(np.mean([each.point for each in estimates])),
        np.mean([each.replicates for each in estimates], axis=0),
        min(each.num_seeds for each in estimates),
        sum(each.num_examples for each in estimates),
        sum(each.num_tasks for each in estimates),
        estimates[0].resampling,
        tuple(key for each in estimates for key in each.drawn_from),
    )


def percentile_ends(replicates: np.ndarray, level: float) -> tuple[float, float]:
    """The ends of the central interval that holds a share ``level`` of the replicates."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_over(num_seeds: int) -> Over:
    """What is resampled for an interval over this many seeds."""
    return "seeds and examples" if num_seeds > 1 else "examples"
