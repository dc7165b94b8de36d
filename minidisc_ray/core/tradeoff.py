"""Scale-performance trade-offs of assistant candidates (MiniDisc, section 3.2 and appendix J)."""

import math
from collections.abc import Mapping, Sequence

LAMBDA_SCAN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def lambda_tradeoff(
    metrics: Mapping[int, float],  # scale percent -> task metric in [-1, 1]
    lam: float = 0.2,
) -> dict[int, float]:
    """Score candidates by ``m + lam * (1 - s)``; the best assistant has the largest score (definition 1).

    Raises:
        ValueError: if ``lam`` lies outside [0, 1], a scale outside (0, 100) or a metric is not finite.
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lambda is {lam}; use a value between 0 and 1")
    _check_candidates(metrics)
    return {scale: metric + lam * (1.0 - scale / 100) for scale, metric in metrics.items()}


def negative_derivative(
    metrics: Mapping[int, float],  # scale percent -> task metric in [-1, 1]
    teacher_metric: float,
) -> dict[int, float]:
    """Score candidates by ``-(m_next - m) / (s_next - s)`` against the next larger one (appendix J).

    The teacher, at 100 percent, closes the grid above the largest candidate.

    Raises:
        ValueError: if a scale lies outside (0, 100) or a metric is not finite.
    """
    _check_candidates(metrics)
    if not math.isfinite(teacher_metric):
        raise ValueError(f"the teacher's metric is {teacher_metric}; it must be finite")
    larger_scale, larger_metric = 100, teacher_metric
    scores: dict[int, float] = {}
    for scale in sorted(metrics, reverse=True):
        scores[scale] = -(larger_metric - metrics[scale]) / ((larger_scale - scale) / 100)
        larger_scale, larger_metric = scale, metrics[scale]
    return scores


def best_scale(scores: Mapping[int, float]) -> int:
    """The scale with the largest score; of equals the smallest scale, which costs least."""
    if not scores:
        raise ValueError("there is no candidate to choose from")
    return max(scores, key=lambda scale: (scores[scale], -scale))


def scan_lambda(metrics: Mapping[int, float], lambdas: Sequence[float] = LAMBDA_SCAN) -> dict[float, int]:
    """The choice for each value of lambda; it needs no training (MiniDisc, table 7)."""
    return {lam: best_scale(lambda_tradeoff(metrics, lam)) for lam in lambdas}


def _check_candidates(metrics: Mapping[int, float]) -> None:
    for scale, metric in metrics.items():
        if not 0 < scale < 100:
            raise ValueError(f"candidate at {scale} percent; candidates lie strictly between 0 and 100")
        if not math.isfinite(metric):
            raise ValueError(f"the metric of the candidate at {scale} percent is {metric}; it must be finite")
