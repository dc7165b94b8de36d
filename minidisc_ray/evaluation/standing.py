"""Compares a sandwich's candidates: smoothed metrics, and the probability of each to have the best trade-off.

N rows, C outputs (1 for regression), K models, B replicates.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.isotonic import isotonic_regression

from minidisc_ray.core.task import Task
from minidisc_ray.core.tradeoff import lambda_tradeoff
from minidisc_ray.evaluation.intervals import Resampling
from minidisc_ray.evaluation.resampling import score_draws
from minidisc_ray.evaluation.weighted import LabelledRows

_NUM_REPLICATES = 200
_ROWS = "selection"
_DIGITS = 12  # trade-offs that agree in these are equal


@dataclass(frozen=True)
class Standing:
    """The candidates compared by one evaluation.

    Attributes:
        metrics: scale percent -> the metric that choices use, for each candidate and the student's slice.
        smoothed: the same after isotonic regression over scales; unchanged if metrics do not rise with the scale.
        rises: whether metrics rise with the scale.
        tradeoffs: of each candidate, from its smoothed metric.
        probabilities: that each candidate has the best trade-off; they sum to 1.
        standard_error: of the difference between the smoothed metric of the best candidate and the teacher's metric.
        teacher_metric: the teacher's metric, which is also its trade-off, as its scale is 1.
        teacher_probability: that the teacher's trade-off is above that of every candidate.
    """

    metrics: dict[int, float]
    smoothed: dict[int, float]
    rises: bool
    tradeoffs: dict[int, float]
    probabilities: dict[int, float]
    standard_error: float
    teacher_metric: float
    teacher_probability: float

    @property
    def favourite(self) -> int:
        """The most probable candidate; the smallest if several are equal."""
        return max(self.probabilities, key=lambda scale: (self.probabilities[scale], -scale))


def standing_of(
    task: Task,
    labels: np.ndarray,  # (N,)
    logits: Mapping[int, np.ndarray],  # scale percent -> (N, C)
    teacher_logits: np.ndarray,  # (N, C)
    lam: float,
    seed: int,
) -> Standing:
    """Compare candidates by a paired bootstrap over rows.

    The trade-off is MiniDisc's (definition 1). Smoothing is based on property 2: a larger candidate of a sandwich is no
    worse. Metrics that fall with the scale are not smoothed.

    Args:
        task: has the metrics that choices use.
        labels: of the rows.
        logits: of every candidate, and of the student's slice, which has the smallest scale.
        teacher_logits: of the teacher.
        lam: of the trade-off.
        seed: of the draws.

    Raises:
        ValueError: if there is no candidate beside the slice, or a logit is not finite.
    """
    if len(logits) < 2:
        raise ValueError("there is no candidate beside the student's slice")
    scales = np.array(sorted(logits))
    rows = LabelledRows(task, {_ROWS: labels}, scored_splits=[_ROWS])
    models = [rows.predictions({_ROWS: found}) for found in (*(logits[scale] for scale in scales), teacher_logits)]
    scores = score_draws(rows, [_ROWS], models, Resampling(_NUM_REPLICATES, seed=seed), selects=True)
    point, replicates = scores.point[:-1], scores.replicates[:, :-1]
    rises = _rises(scales, point)
    smoothed = isotonic_regression(point) if rises else point
    drawn = np.stack([isotonic_regression(values) for values in replicates]) if rises else replicates
    candidates = scales[1:]
    bonus = np.array([lambda_tradeoff({scale: 0.0}, lam)[scale] for scale in candidates.tolist()])
    tradeoffs, drawn_tradeoffs = smoothed[1:] + bonus, (drawn[:, 1:] + bonus).round(_DIGITS)
    # argmax takes the first of equal candidates, which is the smallest.
    counts = np.bincount(drawn_tradeoffs.argmax(axis=1), minlength=len(candidates))
    return Standing(
        metrics=_by_scale(scales, point),
        smoothed=_by_scale(scales, smoothed),
        rises=rises,
        tradeoffs=_by_scale(candidates, tradeoffs),
        probabilities=_by_scale(candidates, counts / _NUM_REPLICATES),
        standard_error=float((drawn[:, 1 + int(tradeoffs.round(_DIGITS).argmax())] - scores.replicates[:, -1]).std()),
        teacher_metric=float(scores.point[-1]),
        teacher_probability=float((scores.replicates[:, -1] > drawn_tradeoffs.max(axis=1)).mean()),
    )


def _rises(scales: np.ndarray, metrics: np.ndarray) -> bool:
    """Whether metrics rise with the scale; False if all are equal."""
    if np.ptp(metrics) == 0:
        return False
    return bool(spearmanr(scales, metrics).statistic > 0)


def _by_scale(scales: np.ndarray, values: np.ndarray) -> dict[int, float]:
    return dict(zip(scales.tolist(), map(float, values), strict=True))
