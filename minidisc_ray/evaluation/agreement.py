"""Rank correlation over scales between the trade-off of each assistant and the metric of its student.

K scales of one seed's sweep, S seeds, B replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from minidisc_ray.evaluation.choices import Sweep
from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Over, Resampling, percentile_ends, resampled_over
from minidisc_ray.evaluation.resampling import Scores, score_draws, seed_counts
from minidisc_ray.evaluation.rules import LambdaRule, TradeoffRule
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions

DEFAULT_RULE = LambdaRule()

Coefficient = Literal["spearman", "kendall_tau_b"]


@dataclass(frozen=True)
class Agreement:
    """A rank correlation over scales with the students' metric on the scored splits.

    A seed's correlation is undefined if one side has the same value at all scales, or there are fewer than two scales.
    Such seeds are counted and left out of means, those of replicates included.

    Attributes:
        predictor: the other side: a rule's label, "assistant metric" or "scale".
        coefficient: Spearman's or Kendall's tau-b.
        mean: over the seeds with a defined correlation; None if there is none.
        low: lower end of the percentile interval over replicates with a defined mean; None if there is none.
        high: upper end.
        level: share of replicates between them.
        excludes_zero: whether both ends are on one side of zero.
        seeds: of the sweeps.
        by_seed: each seed's correlation; None where undefined.
        num_undefined_seeds: seeds without a defined correlation.
        num_undefined_replicates: replicates in which a drawn seed had none.
        num_replicates: all that were drawn.
        num_scales: the smallest number of scales of a seed.
        num_selection_rows: rows that assistants are scored on.
        num_examples: rows that students are scored on.
        over: what was resampled.
    """

    predictor: str
    coefficient: Coefficient
    mean: float | None
    low: float | None
    high: float | None
    level: float
    excludes_zero: bool
    seeds: tuple[int, ...]
    by_seed: tuple[float | None, ...]
    num_undefined_seeds: int
    num_undefined_replicates: int
    num_replicates: int
    num_scales: int
    num_selection_rows: int
    num_examples: int
    over: Over


def rank_agreement(
    rows: LabelledRows,
    sweeps: Mapping[int, Sweep],  # seed -> MaxiDisc's run
    rule: TradeoffRule = DEFAULT_RULE,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> tuple[Agreement, ...]:
    """Both coefficients for the trade-off, for the assistant's metric and for the scale, in this order.

    Each replicate draws seeds, selection rows (for the assistants' metrics) and validation rows (for the students').
    Under ``protocol: paper`` both splits are the same rows and are drawn once. Scales are not drawn. Drawing rows adds
    noise, so that the correlations of replicates are weaker than the point where metrics are close, and the interval is
    conservative.

    Raises:
        ValueError: if there is no seed, the rule lacks the teacher, or a model lacks predictions of its split.
    """
    if not sweeps:
        raise ValueError("there is no seed to correlate over")
    seeds = tuple(sorted(sweeps))
    assistants = [_assistants(sweeps[seed], rule) for seed in seeds]
    students = [[trial.student for trial in sweeps[seed].trials.values()] for seed in seeds]
    selection = _score_by_seed(rows, [rows.selection_split], assistants, resampling, selects=True)
    validation = _score_by_seed(rows, rows.scored_splits, students, resampling)
    names = (rule.label, "assistant metric", "scale")
    points: dict[tuple[str, Coefficient], list[float]] = {}
    draws: dict[tuple[str, Coefficient], list[np.ndarray]] = {}
    for seed, of_assistants, of_students in zip(seeds, selection, validation, strict=True):
        scales = tuple(sweeps[seed].trials)
        at_point = _predictors(rule, scales, of_assistants.point[None])
        drawn = _predictors(rule, scales, of_assistants.replicates)
        for name, one, many in zip(names, at_point, drawn, strict=True):
            point = rank_correlations(one, of_students.point[None])
            replicates = rank_correlations(many, of_students.replicates)
            for coefficient in point:
                points.setdefault((name, coefficient), []).append(float(point[coefficient][0]))
                draws.setdefault((name, coefficient), []).append(replicates[coefficient])
    counts = seed_counts(rows, len(seeds), resampling)
    num_scales = min(len(sweep.trials) for sweep in sweeps.values())
    return tuple(
        _summary(rows, *key, seeds, num_scales, by_seed, np.stack(draws[key], axis=1), counts, resampling)
        for key, by_seed in points.items()
    )


def rank_correlations(
    first: np.ndarray,  # (B, K)
    second: np.ndarray,  # (B, K)
) -> dict[Coefficient, np.ndarray]:  # (B,) each
    """Spearman's and Kendall's tau-b of each row, equal to those of scipy.stats; NaN where undefined."""
    return {"spearman": spearman(first, second), "kendall_tau_b": _kendall_tau_b(first, second)}


def spearman(
    first: np.ndarray,  # (B, K)
    second: np.ndarray,  # (B, K)
) -> np.ndarray:  # (B,)
    """Spearman's rank correlation of each row; NaN where undefined."""
    centre = (first.shape[1] + 1) / 2
    return _cosine(rankdata(first, axis=1) - centre, rankdata(second, axis=1) - centre)


def _kendall_tau_b(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lower, upper = np.triu_indices(first.shape[1], k=1)
    # A pair that is tied on one side has the sign 0 there, which is tau-b's correction for ties.
    return _cosine(np.sign(first[:, upper] - first[:, lower]), np.sign(second[:, upper] - second[:, lower]))


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    products = (first * second).sum(axis=1)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    undefined = np.full(len(products), np.nan)
    cosine: np.ndarray = np.divide(products, scale, out=undefined, where=scale > 0)
    return cosine.clip(-1.0, 1.0)


def _assistants(sweep: Sweep, rule: TradeoffRule) -> list[Predictions]:
    """The assistants, then the teacher if the rule uses it and it is given."""
    models = [trial.assistant for trial in sweep.trials.values()]
    if sweep.teacher is not None and not isinstance(rule, LambdaRule):
        models.append(sweep.teacher)
    return models


def _score_by_seed(
    rows: LabelledRows,
    splits: Sequence[str],
    models: Sequence[Sequence[Predictions]],
    resampling: Resampling,
    selects: bool = False,
) -> list[Scores]:
    """Score the models of all seeds in one pass, then split the scores by seed."""
    scores = score_draws(rows, splits, [model for of_seed in models for model in of_seed], resampling, selects)
    ends = np.cumsum([len(of_seed) for of_seed in models])[:-1]
    points, replicates = np.split(scores.point, ends), np.split(scores.replicates, ends, axis=1)
    return [Scores(point, draws) for point, draws in zip(points, replicates, strict=True)]


def _predictors(
    rule: TradeoffRule,
    scales: Sequence[int],  # K
    metrics: np.ndarray,  # (B, K) or (B, K + 1) with the teacher's last
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # (B, K) each: trade-offs, metrics, scales
    assistants = metrics[:, : len(scales)]
    teachers = metrics[:, len(scales)].tolist() if metrics.shape[1] > len(scales) else [None] * len(metrics)
    tradeoffs = np.empty(assistants.shape)
    for index, (row, teacher) in enumerate(zip(assistants.tolist(), teachers, strict=True)):
        by_scale = rule.tradeoffs(dict(zip(scales, row, strict=True)), teacher)
        tradeoffs[index] = [by_scale[scale] for scale in scales]
    return tradeoffs, assistants, np.broadcast_to(np.asarray(scales, dtype=np.float64), assistants.shape)


def _summary(
    rows: LabelledRows,
    predictor: str,
    coefficient: Coefficient,
    seeds: tuple[int, ...],
    num_scales: int,
    by_seed: Sequence[float],  # S
    draws: np.ndarray,  # (B, S)
    counts: np.ndarray,  # (B, S)
    resampling: Resampling,
) -> Agreement:
    defined = [value for value in by_seed if np.isfinite(value)]
    drawn_defined = np.where(np.isfinite(draws), counts, 0)
    num_defined = drawn_defined.sum(axis=1)
    has_value = num_defined > 0
    sums = (np.nan_to_num(draws) * drawn_defined).sum(axis=1)
    low, high = None, None
    if has_value.any():
        low, high = percentile_ends(sums[has_value] / num_defined[has_value], resampling.level)
    return Agreement(
        predictor=predictor,
        coefficient=coefficient,
        mean=float(np.mean(defined)) if defined else None,
        low=low,
        high=high,
        level=resampling.level,
        excludes_zero=low is not None and high is not None and (low > 0 or high < 0),
        seeds=seeds,
        by_seed=tuple(value if np.isfinite(value) else None for value in by_seed),
        num_undefined_seeds=len(by_seed) - len(defined),
        num_undefined_replicates=int((num_defined < len(seeds)).sum()),
        num_replicates=len(draws),
        num_scales=num_scales,
        num_selection_rows=rows.num_rows([rows.selection_split]),
        num_examples=rows.num_rows(rows.scored_splits),
        over=resampled_over(len(seeds)),
    )
