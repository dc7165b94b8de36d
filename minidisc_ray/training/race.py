"""A race within the training loop: what each step trains, what is evaluated when, and what evaluations decide.

N selection rows, n of them looked at, C outputs (1 for regression).
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
    """What a race is about.

    Attributes:
        candidates: in percent, largest first.
        student_percent: scale of the student's slice, trained along.
        num_networks: trained at each step.
        lam: of the trade-off.
        seed: of fillings and draws.
        times: of its evaluations.
        task: whose metrics choose.
        labels: (N,) of the selection rows.
        teacher_logits: (N, C) on the selection rows.
        chance_metric: of an answer that looks at no text.
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


def rows_looked_at(num_rows: int, count: int, seed: int) -> np.ndarray:  # (count,), ascending
    """So many of the selection rows, of which a larger count holds those of a smaller one."""
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:count])


class Race:
    """Candidates that are in, and the choice among them; all of it follows from its checks, so that it resumes."""

    def __init__(self, setting: RaceSetting) -> None:
        self.setting = setting
        self.checks: tuple[RaceCheck, ...] = ()

    def resume(self, checks: Sequence[RaceCheck]) -> None:
        """Go on from the checks of an earlier attempt."""
        self.checks = tuple(checks)

    @property
    def alive(self) -> tuple[int, ...]:
        """Candidates that are in, largest first."""
        return self.checks[-1].alive if self.checks else self.setting.candidates

    @property
    def choice(self) -> int | None:
        """The assistant's scale in percent, 100 for none; None as long as nothing is chosen."""
        return self.checks[-1].choice if self.checks else None

    def scales_of_step(self, step: int) -> tuple[int, ...]:
        """What the next step trains, after so many."""
        setting = self.setting
        return networks_of_step(
            self.alive, setting.student_percent, setting.num_networks, step - self._changed_at(), setting.seed
        )

    def trained_until(self, num_steps: int) -> tuple[int, ...]:
        """The scales, smallest first, that the first steps drew."""
        replay, found = Race(self.setting), set[int]()
        for step in range(num_steps):
            replay.checks = tuple(check for check in self.checks if check.step <= step)
            found.update(replay.scales_of_step(step))
        return tuple(sorted(found))

    def scales_to_score(self, step: int) -> tuple[int, ...]:
        """What a check after so many steps scores: candidates that are in, and the student's slice."""
        return (*self.setting.times.scored(step, self.alive), self.setting.student_percent)

    def scales_to_follow(self) -> tuple[int, ...]:
        """What the evaluation after an epoch scores: the slice, and the assistant once it is chosen."""
        chosen = self.alive if self.choice is not None else ()
        return (*chosen, self.setting.student_percent)

    def rows_to_score(self) -> np.ndarray:  # (n,), ascending
        """The selection rows that the next check looks at."""
        num_rows = len(self.setting.labels)
        count = min(num_rows, FIRST_ROWS)
        for check in self.checks:
            if check.has_learned and check.probabilities[check.favourite] < MIN_PROBABILITY:
                count = min(num_rows, 2 * check.num_rows)
        return rows_looked_at(num_rows, count, self.setting.seed)

    def is_due(self, step: int) -> bool:
        """Whether there is a check after so many steps."""
        is_done = bool(self.checks) and self.checks[-1].step >= step
        return self.choice is None and not is_done and step in self.setting.times.steps

    def check(self, step: int, logits: Mapping[int, np.ndarray]) -> RaceCheck:
        """Decide from answers on the rows to score, by scale (n, C), after so many steps.

        Raises:
            ValueError: if an answer is not finite.
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
        """The check with the choice that follows from it; once there is one, only that is in."""
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
            # A candidate that still learns is compared with a teacher that has learned all, so only here.
            goes_without = found.teacher_metric > max(found.tradeoffs.values())
            choice, reason = (NO_ASSISTANT if goes_without else check.favourite), "not_learned"
        else:
            return check
        alive = () if choice == NO_ASSISTANT else (choice,)
        return check.model_copy(update={"alive": alive, "choice": choice, "reason": reason})

    def _changed_at(self) -> int:
        """After how many steps the candidates that are in changed last."""
        changed_at, before = 0, self.setting.candidates
        for check in self.checks:
            if check.alive != before:
                changed_at, before = check.step, check.alive
        return changed_at
