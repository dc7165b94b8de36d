"""A race among a sandwich's candidates: which are left, what each step trains, and when one is chosen.

MiniDisc trains every candidate to the end and then keeps one (section 3.3). Here a candidate is dropped as soon as
it cannot win, even with the teacher's metric: by the sandwich rule (property 2) no candidate scores above the teacher.
The metric of a larger candidate is no such bound while both still learn, since the smaller one may overtake it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median_low

from minidisc_ray.core.grid import TEACHER_PERCENT, sample_evenly
from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff

# The choice of no assistant: the teacher itself teaches the student.
NO_ASSISTANT = TEACHER_PERCENT
# A candidate is chosen when so many checks in a row found it the best, each with at least this probability.
CHOICES_IN_A_ROW = 3
MIN_PROBABILITY = 0.5
# Otherwise one is chosen after the first share of the steps, or after the second if little was learned by the first.
LATEST_SHARE = 0.3
LATEST_UNLEARNED_SHARE = 0.6
# How far the median candidate's metric must have come from chance towards the teacher's before one is chosen.
LEARNED_SHARE = 0.5
# The first checks only drop candidates, and score a few of them; later ones score all and count for the choice.
EARLY_CANDIDATES = 5
# When checks run, as shares of the latest step for a choice.
_SHARES_OF_LATEST = (1 / 8, 1 / 4, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0, 1.25, 1.5, 1.75)
_EARLY_CHECKS = 3
_ROUNDING = 1e-12
# Selection rows of the first checks; doubled while they are too few to decide.
FIRST_ROWS = 128


@dataclass(frozen=True)
class RaceEvent:
    """A check of the race, with what its cost depends on.

    Attributes:
        step: optimiser steps done before it.
        alive: candidates left after it; after the last check the assistant alone, or none.
        num_rows: selection rows that it scores.
    """

    step: int
    alive: tuple[int, ...]
    num_rows: int


@dataclass(frozen=True)
class CheckTimes:
    """The steps after which a race is checked, until a choice is made.

    Attributes:
        steps_per_epoch: optimiser steps of an epoch.
        num_epochs: epochs of the stage.
    """

    steps_per_epoch: int
    num_epochs: int

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the stage."""
        return self.steps_per_epoch * self.num_epochs

    @property
    def latest_step(self) -> int:
        """The step after which one is chosen even if checks disagree."""
        return max(1, int(LATEST_SHARE * self.num_steps))

    @property
    def latest_unlearned_step(self) -> int:
        """The same if candidates have learned little."""
        return max(self.latest_step, int(LATEST_UNLEARNED_SHARE * self.num_steps))

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps, ascending from 0: closer together at first, where more candidates are left and steps cost more."""
        shares = (max(1, round(share * self.latest_step)) for share in _SHARES_OF_LATEST)
        before_end = {step for step in (*shares, self.latest_unlearned_step) if step < self.num_steps}
        return (0, *sorted({*before_end, self.num_steps}))

    def is_early(self, step: int) -> bool:
        """Whether a check after so many steps is too early for a choice."""
        return step in self.steps[:_EARLY_CHECKS] and step < self.latest_step

    def scored(self, step: int, alive: Sequence[int]) -> tuple[int, ...]:
        """The candidates that a check after so many steps scores, of those left."""
        if not self.is_early(step) or len(alive) <= EARLY_CANDIDATES:
            return tuple(alive)
        return sample_evenly(alive, EARLY_CANDIDATES)


def alive_candidates(
    alive: Sequence[int], metrics: Mapping[int, float], teacher_metric: float, lam: float, margin: float
) -> tuple[int, ...]:
    """The candidates, largest first, whose trade-off may still reach the best one seen.

    No candidate can exceed ``m_T + lam * (1 - s)``. The best one is always kept, even if it scores above the teacher.

    Args:
        alive: candidates left so far, in percent.
        metrics: of some of them, by scale percent, in [-1, 1].
        teacher_metric: m_T.
        lam: of the trade-off.
        margin: how far below the best trade-off a bound may lie, in units of the metric.
    """
    tradeoffs = lambda_tradeoff(metrics, lam)
    best = best_scale(tradeoffs)
    bounds = lambda_tradeoff(dict.fromkeys(alive, teacher_metric), lam)
    # Equal sums may differ in the last digit.
    least = tradeoffs[best] - margin - _ROUNDING
    return tuple(scale for scale in sorted(alive, reverse=True) if scale == best or bounds[scale] >= least)


def has_learned(metrics: Mapping[int, float], teacher_metric: float, chance_metric: float) -> bool:
    """Whether the median candidate's metric is at least half-way from chance to the teacher's.

    The largest candidates start near the teacher, since little of them is pruned; a choice before the others have
    caught up would favour those that need no training.
    """
    return median_low(metrics.values()) >= chance_metric + LEARNED_SHARE * (teacher_metric - chance_metric)


def is_stable(choices: Sequence[tuple[int, float]]) -> bool:
    """Whether the last checks agree, each with enough probability.

    Args:
        choices: for each check its best candidate, and the probability that it is the best.
    """
    last = choices[-CHOICES_IN_A_ROW:]
    is_same = len(last) == CHOICES_IN_A_ROW and len({scale for scale, _ in last}) == 1
    return is_same and all(probability >= MIN_PROBABILITY for _, probability in last)


def networks_of_step(
    alive: Sequence[int], student_percent: int, num_networks: int, number: int, seed: int
) -> tuple[int, ...]:
    """The scales that a step trains: the largest candidate left, the student's slice, and fillings in turn.

    Args:
        alive: candidates left, largest first; without any the slice is trained alone.
        student_percent: scale of the slice.
        num_networks: the most that a step trains; if 1, all scales take turns.
        number: steps since ``alive`` last changed; over as many steps as there are fillings, each is trained equally
            often.
        seed: of their order, the same on every worker.
    """
    if not alive:
        return (student_percent,)
    if num_networks == 1:
        return tuple(_drawn((*alive, student_percent), 1, number, seed))
    largest, *fillings = alive
    drawn = _drawn(fillings, min(num_networks - 2, len(fillings)), number, seed)
    return (largest, *sorted(drawn, reverse=True), student_percent)


def _drawn(scales: Sequence[int], count: int, number: int, seed: int) -> list[int]:
    """Some of the scales; over as many draws as there are scales, each has the same number of turns."""
    if count <= 0:
        return []
    round_number, position = divmod(number, len(scales))
    order = Random(seed * 1_000_003 + round_number).sample(scales, len(scales))
    return [order[(position * count + index) % len(scales)] for index in range(count)]
