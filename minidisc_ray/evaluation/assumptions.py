"""How often the method's assumptions hold: a single maximum of the trade-off, and metrics that rise with scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from scipy.stats import binomtest

_LEVEL = 0.95
_DIGITS = 12  # trade-offs that agree in these are equal


@dataclass(frozen=True)
class Share:
    """The share of cases for which something holds, with its Wilson interval.

    Attributes:
        count: cases for which it holds.
        total: all cases.
        share: ``count / total``.
        low, high: ends of the 95% interval, which assumes independent cases.
    """

    count: int
    total: int
    share: float
    low: float
    high: float


def share_of(count: int, total: int) -> Share:
    """The share and its interval.

    Raises:
        ValueError: if there is no case, or ``count`` exceeds ``total``.
    """
    interval = binomtest(count, total).proportion_ci(_LEVEL, method="wilson")
    return Share(count, total, count / total, float(interval.low), float(interval.high))


def num_maxima(values: Sequence[float]) -> int:
    """The number of local maxima of a sequence; equal neighbours count as one value, and an end may be a maximum."""
    steps = [value for value, _ in groupby(round(value, _DIGITS) for value in values)]
    padded = [float("-inf"), *steps, float("-inf")]
    return sum(left < value > right for left, value, right in zip(padded[:-2], steps, padded[2:], strict=True))


def num_falls(metrics: Sequence[float]) -> int:
    """The number of scales with a lower metric than the next smaller scale, against MiniDisc's property 2."""
    return sum(larger < smaller for smaller, larger in pairwise(metrics))
