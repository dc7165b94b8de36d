"""A race among a sandwich's candidates: which are still in, what each step trains, and when the choice is made.

MiniDisc trains every candidate to the end and then keeps one (section 3.3). Here bounds take candidates out as soon as
they cannot win, which rests on the sandwich rule (property 2): no candidate scores above the teacher. A larger
candidate is no bound while both still learn: what is ahead today says nothing of how far the other one will come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median_low

from minidisc_ray.core.grid import TEACHER_PERCENT, sample_evenly
from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff

# The choice "without an assistant": the teacher itself teaches the student.
NO_ASSISTANT = TEACHER_PERCENT
# A choice is made when it came so often in a row, each time as probable as this.
CHOICES_IN_A_ROW = 3
MIN_PROBABILITY = 0.5
# Otherwise it is made after this share of the steps; where little has been learned by then, after the second share.
LATEST_SHARE = 0.3
LATEST_UNLEARNED_SHARE = 0.6
# How far the middle one of the candidates must have come from chance towards the teacher before one is chosen.
LEARNED_SHARE = 0.5
# Early checks, which only take out, look at a few candidates; from the third share on all of them count for the choice.
EARLY_CANDIDATES = 5
_SHARES_OF_LATEST = (1 / 8, 1 / 4, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0, 1.25, 1.5, 1.75)
_EARLY_CHECKS = 3
_ROUNDING = 1e-12
# Selection rows of the first checks; twice as many as long as these do not decide.
FIRST_ROWS = 128


@dataclass(frozen=True)
class RaceEvent:
    """What a check costs and leaves.

    Attributes:
        step: optimiser steps that are done.
        alive: candidates that are in after it; of the last one the assistant alone, or nothing.
        num_rows: selection rows that it looks at.
    """

    step: int
    alive: tuple[int, ...]
    num_rows: int


@dataclass(frozen=True)
class CheckTimes:
    """The steps after which a race is checked, until a choice is made.

    Attributes:
        steps_per_epoch: optimiser steps.
        num_epochs: of the stage.
    """

    steps_per_epoch: int
    num_epochs: int

    @property
    def num_steps(self) -> int:
        """Of the stage."""
        return self.steps_per_epoch * self.num_epochs

    @property
    def latest_step(self) -> int:
        """The step after which a choice is made even if it is not stable."""
        return max(1, int(LATEST_SHARE * self.num_steps))

    @property
    def latest_unlearned_step(self) -> int:
        """The same where hardly anything has been learned."""
        return max(self.latest_step, int(LATEST_UNLEARNED_SHARE * self.num_steps))

    @property
    def steps(self) -> tuple[int, ...]:
        """All of them: closer together where more candidates are in and each step costs more."""
        latest = self.latest_step
        early = (max(1, round(share * latest)) for share in _SHARES_OF_LATEST)
        late = (step for step in (*early, self.latest_unlearned_step) if step < self.num_steps)
        return (0, *sorted({*late, self.num_steps}))

    def is_early(self, step: int) -> bool:
        """Whether a check is too early for a choice; the last one never is."""
        return step in self.steps[:_EARLY_CHECKS] and step < self.latest_step

    def scored(self, step: int, alive: Sequence[int]) -> tuple[int, ...]:
        """The candidates that a check after so many steps looks at, of those that are in."""
        if not self.is_early(step) or len(alive) <= EARLY_CANDIDATES:
            return tuple(alive)
        return sample_evenly(alive, EARLY_CANDIDATES)


def alive_candidates(
    alive: Sequence[int], metrics: Mapping[int, float], teacher_metric: float, lam: float, margin: float
) -> tuple[int, ...]:
    """The candidates, largest first, whose trade-off may still reach the best one seen.

    None can have more than ``m_T + lam * (1 - s)``, whatever it learns. The one that is best is always among them: it
    may score above the teacher, which no bound foresees.

    Args:
        alive: candidates that were in, in percent.
        metrics: of some of them, by scale percent, in [-1, 1].
        teacher_metric: m_T.
        lam: of the trade-off.
        margin: how far a bound may lie under the best: a standard error.
    """
    tradeoffs = lambda_tradeoff(metrics, lam)
    best = best_scale(tradeoffs)
    bounds = lambda_tradeoff(dict.fromkeys(alive, teacher_metric), lam)
    # Of sums that are equal one may lack a last digit.
    least = tradeoffs[best] - margin - _ROUNDING
    return tuple(scale for scale in sorted(alive, reverse=True) if scale == best or bounds[scale] >= least)


def has_learned(metrics: Mapping[int, float], teacher_metric: float, chance_metric: float) -> bool:
    """Whether the middle one of the candidates is half-way from chance to the teacher.

    The largest begin there, being hardly pruned; before the others follow, the trade-off would favour those that need
    no training.
    """
    middle = median_low(metrics[scale] for scale in sorted(metrics))
    return middle >= chance_metric + LEARNED_SHARE * (teacher_metric - chance_metric)


def is_stable(choices: Sequence[tuple[int, float]]) -> bool:
    """Whether the last checks agree, each with enough probability.

    Args:
        choices: of each check, the best candidate and its probability of being that.
    """
    last = choices[-CHOICES_IN_A_ROW:]
    is_same = len(last) == CHOICES_IN_A_ROW and len({scale for scale, _ in last}) == 1
    return is_same and all(probability >= MIN_PROBABILITY for _, probability in last)


def networks_of_step(
    alive: Sequence[int], student_percent: int, num_networks: int, number: int, seed: int
) -> tuple[int, ...]:
    """What a step trains: the largest candidate alive, the student's slice, and fillings, each equally often.

    Args:
        alive: candidates, largest first; none leaves the slice alone.
        student_percent: scale of the slice.
        num_networks: trained at each step, as far as there are so many; of 1 any of them, each equally often.
        number: steps since ``alive`` last changed: over as many as there are fillings each has the same number of
            turns.
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
    turn, place = divmod(number, len(scales))
    order = Random(seed * 1_000_003 + turn).sample(scales, len(scales))
    return [order[(place * count + index) % len(scales)] for index in range(count)]
