"""The cost of choosing an assistant: regret of a choice on the selection split, and hindsight on the scored rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Estimate, Resampling
from minidisc_ray.evaluation.resampling import bootstrap, common_seeds, difference_estimate, estimate, score_draws
from minidisc_ray.evaluation.rules import BestStudentRule, Rule, SelectionMetrics
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions, weighted_scores

_TIED = 1e-12


@dataclass(frozen=True, eq=False)
class SweepTrial:
    """One trial T -> A -> S of a sweep.

    Attributes:
        assistant: predictions on the selection split.
        student: predictions on the selection split and the scored splits.
    """

    assistant: Predictions
    student: Predictions


@dataclass(frozen=True, eq=False)
class Sweep:
    """One seed's MaxiDisc run, with the other models that rules need.

    Attributes:
        trials: the assistant's scale percent -> its trial; failed trials may be missing.
        teacher: predictions on the selection split, which the negative derivative needs.
        conventional: the student without an assistant, on the scored splits.
    """

    trials: Mapping[int, SweepTrial]
    teacher: Predictions | None = None
    conventional: Predictions | None = None

    def __post_init__(self) -> None:
        if not self.trials:
            raise ValueError("a sweep has no trial; give at least one that finished")
        for scale in self.trials:
            if not 0 < scale < TEACHER_PERCENT:
                raise ValueError(f"a trial's assistant has {scale} percent; scales lie strictly between 0 and 100")


def selection_metrics(rows: LabelledRows, sweep: Sweep) -> SelectionMetrics:
    """The metrics of one sweep on the selection split, as rules take them.

    Raises:
        ValueError: as ``weighted_scores``.
    """
    scales = tuple(sweep.trials)
    models = [sweep.trials[scale].assistant for scale in scales] + [sweep.trials[scale].student for scale in scales]
    models += [sweep.teacher] if sweep.teacher else []
    once = np.ones((1, rows.num_rows([rows.selection_split])))
    values = [float(value) for value in weighted_scores(rows, rows.selection_split, models, once, selects=True)[0]]
    count = len(scales)
    return SelectionMetrics(
        dict(zip(scales, values[:count], strict=True)),
        dict(zip(scales, values[count : 2 * count], strict=True)),
        values[-1] if sweep.teacher else None,
    )


def best_scales(rows: LabelledRows, sweep: Sweep) -> frozenset[int]:
    """The scales whose students score best on the scored splits; several if they score the same.

    Raises:
        ValueError: as ``weighted_scores``.
    """
    models = [trial.student for trial in sweep.trials.values()]
    splits = rows.scored_splits
    scores = [weighted_scores(rows, split, models, np.ones((1, rows.num_rows([split]))))[0] for split in splits]
    means = np.mean(scores, axis=0)
    # Sums of the same counts in another order may differ in the last digit.
    is_best = np.isclose(means, means.max(), rtol=0, atol=_TIED)
    return frozenset(scale for scale, best in zip(sweep.trials, is_best, strict=True) if best)


def pick_scales(rows: LabelledRows, sweeps: Mapping[int, Sweep], rule: Rule) -> dict[int, int | None]:
    """The assistant's scale that a rule picks for each seed; None where it takes the conventional student.

    Raises:
        ValueError: if a metric that the rule needs is missing, and as ``weighted_scores``.
    """
    return {seed: rule.pick(selection_metrics(rows, sweep)) for seed, sweep in sweeps.items()}


def picked_students(rows: LabelledRows, sweeps: Mapping[int, Sweep], rule: Rule) -> dict[int, Predictions]:
    """The student that a rule picks for each seed.

    Raises:
        ValueError: if the rule takes no assistant and a seed has no conventional student, and as ``pick_scales``.
    """
    picks = pick_scales(rows, sweeps, rule)
    return {seed: _student(seed, sweep, picks[seed]) for seed, sweep in sweeps.items()}


def regret(
    rows: LabelledRows,
    sweeps: Mapping[int, Sweep],  # seed -> MaxiDisc's run
    students: Mapping[int, Predictions],  # seed -> MiniDisc's student
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """MaxiDisc's student, chosen on the selection split, less MiniDisc's, on the scored splits.

    The choice is made once, on all selection rows, and not again in each replicate. Above 0, MiniDisc's cheaper search
    lost. ``average`` gives the mean over tasks.

    Raises:
        ValueError: as ``difference_estimate``.
    """
    return difference_estimate(rows, picked_students(rows, sweeps, BestStudentRule()), students, resampling)


def hindsight(
    rows: LabelledRows,
    sweeps: Mapping[int, Sweep],  # seed -> MaxiDisc's run
    students: Mapping[int, Predictions],  # seed -> MiniDisc's student
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """The best of MaxiDisc's students on the scored splits less MiniDisc's: an upper bound that no method reaches.

    The maximum is biased upwards, as the rows that pick the best student also score it; the more students are close to
    the best, the larger the bias. So each replicate picks the best student on its own rows instead of keeping one. That
    adds a bias to the replicates in turn: they lie above the point, by ``Estimate.bias``, which shows only part of the
    bias of the point. Read the interval as a ceiling; ``regret`` is the cost of a choice.

    Raises:
        ValueError: as ``difference_estimate``.
    """
    seeds = common_seeds({"MaxiDisc": sweeps, "MiniDisc": students})
    models = [trial.student for seed in seeds for trial in sweeps[seed].trials.values()]
    starts = np.cumsum([0] + [len(sweeps[seed].trials) for seed in seeds[:-1]])
    scores = score_draws(rows, rows.scored_splits, [*models, *(students[seed] for seed in seeds)], resampling)

    def lead(values: np.ndarray) -> np.ndarray:  # (..., M) -> (..., S)
        best: np.ndarray = np.maximum.reduceat(values[..., : len(models)], starts, axis=-1)
        ahead: np.ndarray = best - values[..., len(models) :]
        return ahead

    return estimate(rows, seeds, lead(scores.point), lead(scores.replicates), resampling)


def rule_estimates(
    rows: LabelledRows, sweeps: Mapping[int, Sweep], rules: Sequence[Rule], resampling: Resampling = DEFAULT_RESAMPLING
) -> tuple[tuple[Estimate, Estimate], ...]:
    """For each rule, the mean metric of the students that it picks and its regret against MaxiDisc's pick.

    Raises:
        ValueError: if there is no rule, and as ``picked_students``.
    """
    if not rules:
        raise ValueError("there is no rule to compare with MaxiDisc's pick")
    all_rules = (BestStudentRule(), *rules)
    methods = {str(index): picked_students(rows, sweeps, rule) for index, rule in enumerate(all_rules)}
    best, *others = bootstrap(rows, methods, resampling).values()
    return tuple((other, best - other) for other in others)


def _student(seed: int, sweep: Sweep, scale: int | None) -> Predictions:
    if scale is not None:
        return sweep.trials[scale].student
    if sweep.conventional is None:
        raise ValueError(f"seed {seed} has no conventional student, which the rule picks; give one")
    return sweep.conventional
