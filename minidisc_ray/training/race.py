"""A race within the training loop: what each step trains, which checks score what, and what they decide.

N selection rows, n of them scored, C outputs (1 for regression).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.core.race import (
    FIRST_ROWS,
    MIN_PROBABILITY,
    NO_ASSISTANT,
    CheckTimes,
    alive_candidates,
    has_learned,
    is_stable,
    networks_of_step,
)
from minidisc_ray.core.task import Task
from minidisc_ray.core.tradeoff import best_scale
from minidisc_ray.evaluation.standing import Standing, standing_of
from minidisc_ray.training.race_check import RaceCheck


@dataclass(frozen=True, eq=False)
class RaceSetting:
    """The settings of a race.

    Attributes:
        candidates: in percent, largest first.
        student_percent: scale of the student's slice, which is trained with them.
        num_networks: the most that a step trains.
        lam: of the trade-off.
        seed: of fillings, of the order of rows and of resampling.
        times: the steps of its checks.
        task: has the metrics that choose.
        labels: (N,) of the selection rows.
        teacher_logits: (N, C) on the selection rows.
        chance_metric: of predictions that ignore the text.
    """

    candidates: tuple[int, ...]
    student_percent: int
    num_networks: int
    lam: float
    seed: int
    times: CheckTimes
    task: Task
    labels: np.ndarray
    teacher_logits: np.ndarray
    chance_metric: float


def scored_rows(num_rows: int, count: int, seed: int) -> np.ndarray:  # (count,), ascending
    """Some of the selection rows; a larger count includes the rows of a smaller one."""
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:count])


class Race:
    """The candidates left, and the choice among them; both follow from the checks, so a checkpoint keeps only these."""

    def __init__(self, setting: RaceSetting) -> None:
        self.setting = setting
        self.checks: tuple[RaceCheck, ...] = ()

    def resume(self, checks: Sequence[RaceCheck]) -> None:
        """Continue from the checks of an earlier attempt."""
        self.checks = tuple(checks)

    @property
    def alive(self) -> tuple[int, ...]:
        """The candidates left, largest first."""
        return self.checks[-1].alive if self.checks else self.setting.candidates

    @property
    def choice(self) -> int | None:
        """The assistant's scale in percent, 100 for no assistant; None until one is chosen."""
        return self.checks[-1].choice if self.checks else None

    def scales_of_step(self, step: int) -> tuple[int, ...]:
        """The scales that a step trains, counted from 0."""
        setting = self.setting
        return networks_of_step(
            self.alive, setting.student_percent, setting.num_networks, step - self._changed_at(), setting.seed
        )

    def trained_until(self, num_steps: int) -> tuple[int, ...]:
        """The scales, smallest first, that the first ``num_steps`` steps trained."""
        replay, found = Race(self.setting), set[int]()
        for step in range(num_steps):
            replay.checks = tuple(check for check in self.checks if check.step <= step)
            found.update(replay.scales_of_step(step))
        return tuple(sorted(found))

    def scales_to_score(self, step: int) -> tuple[int, ...]:
        """The scales that a check after so many steps scores: of candidates left, and of the student's slice."""
        return (*self.setting.times.scored(step, self.alive), self.setting.student_percent)

    def scales_to_follow(self) -> tuple[int, ...]:
        """The scales that are evaluated after an epoch: the student's, and the assistant's once it is chosen."""
        chosen = self.alive if self.choice is not None else ()
        return (*chosen, self.setting.student_percent)

    def rows_to_score(self) -> np.ndarray:  # (n,), ascending
        """The selection rows that the next check scores."""
        num_rows = len(self.setting.labels)
        count = min(num_rows, FIRST_ROWS)
        for check in self.checks:
            if check.has_learned and check.probabilities[check.favourite] < MIN_PROBABILITY:
                count = min(num_rows, 2 * check.num_rows)
        return scored_rows(num_rows, count, self.setting.seed)

    def is_due(self, step: int) -> bool:
        """Whether there is a check after so many steps."""
        is_done = bool(self.checks) and self.checks[-1].step >= step
        return self.choice is None and not is_done and step in self.setting.times.steps

    def check(self, step: int, logits: Mapping[int, np.ndarray]) -> RaceCheck:
        """Decide from the logits on :meth:`rows_to_score`, (n, C) by scale, after so many steps.

        Raises:
            ValueError: if a logit is not finite.
        """
        setting, rows = self.setting, self.rows_to_score()
        scales = self.scales_to_score(step)
        found = standing_of(
            setting.task,
            setting.labels[rows],
            {scale: logits[scale] for scale in scales},
            setting.teacher_logits[rows],
            setting.lam,
            setting.seed + step,
        )
        smoothed = {scale: found.smoothed[scale] for scale in scales[:-1]}
        alive = alive_candidates(self.alive, smoothed, found.teacher_metric, setting.lam, found.standard_error)
        check = RaceCheck(
            step=step,
            num_rows=len(rows),
            alive=alive,
            ruled_out=tuple(scale for scale in self.alive if scale not in alive),
            metrics=found.metrics,
            rises=found.rises,
            tradeoffs=found.tradeoffs,
            probabilities=found.probabilities,
            teacher_metric=found.teacher_metric,
            teacher_probability=found.teacher_probability,
            has_learned=has_learned(smoothed, found.teacher_metric, setting.chance_metric),
            favourite=found.favourite,
        )
        self.checks = (*self.checks, self._decided(check, found))
        return self.checks[-1]

    def _decided(self, check: RaceCheck, found: Standing) -> RaceCheck:
        """The check with the choice that follows from it, if any; then only the chosen candidate is left."""
        times = self.setting.times
        is_last = check.step >= times.num_steps
        choosable = [c for c in (*self.checks, check) if c.has_learned and not times.is_early(c.step)]
        past = [(c.favourite, c.probabilities[c.favourite]) for c in choosable]
        if len(check.alive) == 1:
            choice, reason = check.alive[0], "only_one"
        elif check.has_learned and is_stable(past):
            choice, reason = check.favourite, "stable"
        elif check.has_learned and check.step >= times.latest_step:
            choice, reason = best_scale(found.tradeoffs), "latest"
        elif is_last or check.step >= times.latest_unlearned_step:
            # Only here: candidates still learn, so earlier the comparison with the teacher would be unfair.
            goes_without = found.teacher_metric > max(found.tradeoffs.values())
            choice, reason = (NO_ASSISTANT if goes_without else check.favourite), "not_learned"
        else:
            return check
        alive = () if choice == NO_ASSISTANT else (choice,)
        return check.model_copy(update={"alive": alive, "choice": choice, "reason": reason})

    def _changed_at(self) -> int:
        """The number of steps after which the candidates left last changed."""
        changed_at, before = 0, self.setting.candidates
        for check in self.checks:
            if check.alive != before:
                changed_at, before = check.step, check.alive
        return changed_at
