"""Scale-performance trade-offs of assistant candidates (MiniDisc, section 3.2 and appendix J)."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations, pairwise
from typing import Literal

import numpy as np

from minidisc_ray.core.grid import TEACHER_PERCENT

# Equal trade-offs may differ in the last digit, since sums round differently.
_DIGITS = 12
LAMBDA_SCAN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def lambda_tradeoff(
    metrics: Mapping[int, float],  # scale percent -> task metric in [-1, 1]
    lam: float = 0.2,
    teacher_percent: int = TEACHER_PERCENT,
) -> dict[int, float]:
    """Score candidates by ``m + lam * (1 - s)``; the best assistant has the largest score (definition 1).

    Below an assistant that is the teacher in turn, scales are relative to ``teacher_percent``, its own.

    Raises:
        ValueError: if ``lam`` lies outside [0, 1], a scale outside (0, teacher_percent) or a metric is not finite.
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lambda is {lam}; use a value between 0 and 1")
    _check_candidates(metrics, teacher_percent)
    return {scale: metric + lam * (1.0 - scale / teacher_percent) for scale, metric in metrics.items()}


def negative_derivative(
    metrics: Mapping[int, float],  # scale percent -> task metric in [-1, 1]
    teacher_metric: float,
    teacher_percent: int = TEACHER_PERCENT,
    order: Literal[1, 2] = 1,
) -> dict[int, float]:
    """Score candidates by ``-(m_next - m) / (s_next - s)`` against the next larger one (appendix J).

    The largest candidate's next larger one is the teacher.

    Order 2 takes the central difference over both neighbours, with gaps of any size: its error falls with the square
    of the gap, and where gaps are equal its variance is a quarter. Appendix J names it ("second-order or so") and gives
    no formula. The smallest candidate has no smaller neighbour and keeps the first order.

    Raises:
        ValueError: if a scale lies outside (0, teacher_percent), or a metric is not finite.
    """
    _check_candidates(metrics, teacher_percent)
    if not math.isfinite(teacher_metric):
        raise ValueError(f"the teacher's metric is {teacher_metric}; it must be finite")
    if order == 2 and metrics:
        scales = sorted(metrics)
        values = [*(metrics[scale] for scale in scales), teacher_metric]
        slopes = np.gradient(np.array(values), np.array([*scales, teacher_percent]) / 100)
        return {scale: -float(slope) for scale, slope in zip(scales, slopes, strict=False)}
    larger_scale, larger_metric = teacher_percent, teacher_metric
    scores: dict[int, float] = {}
    for scale in sorted(metrics, reverse=True):
        scores[scale] = -(larger_metric - metrics[scale]) / ((larger_scale - scale) / 100)
        larger_scale, larger_metric = scale, metrics[scale]
    return scores


def best_scale(scores: Mapping[int, float]) -> int:
    """The scale with the largest score; of equal ones the smallest scale, which costs least."""
    if not scores:
        raise ValueError("there is no candidate to choose from")
    return max(scores, key=lambda scale: (round(scores[scale], _DIGITS), -scale))


def best_chain(
    scores: Mapping[int, float],  # scale percent -> trade-off of a first assistant, under the teacher
    length: int,
    num_below: int = 0,
    score_below: Callable[[int, int], float] | None = None,
) -> tuple[int, ...]:
    """The chain of assistants, largest first, whose trade-offs have the largest sum; of equal ones the smallest scales.

    With one assistant this is the best scale. For more, the paper repeats its procedure and gives no joint rule; the
    sum is ours.

    Args:
        scores: of every candidate, under the teacher.
        length: assistants in the chain.
        num_below: candidates that must be left below the chain, for assistants that are chosen later.
        score_below: trade-off of a candidate (second) under another one (first); by default that under the teacher.

    Raises:
        ValueError: if there are too few candidates.
    """
    scales = sorted(scores, reverse=True)
    if not 1 <= length <= len(scales) - num_below:
        raise ValueError(f"{len(scales)} candidates are too few for {length + num_below} assistants")

    def total(chain: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        pairs = pairwise(chain)
        rest = (scores[below] if score_below is None else score_below(above, below) for above, below in pairs)
        return round(scores[chain[0]] + sum(rest), _DIGITS), tuple(-scale for scale in chain)

    return max(combinations(scales[: len(scales) - num_below], length), key=total)


def _check_candidates(metrics: Mapping[int, float], teacher_percent: int) -> None:
    for scale, metric in metrics.items():
        if not 0 < scale < teacher_percent:
            raise ValueError(f"candidate at {scale} percent; candidates lie strictly between 0 and {teacher_percent}")
        if not math.isfinite(metric):
            raise ValueError(f"the metric of the candidate at {scale} percent is {metric}; it must be finite")
