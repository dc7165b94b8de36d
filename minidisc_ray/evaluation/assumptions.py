"""How often what the method takes for granted holds: one maximum of the trade-off, and metrics that rise with scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from scipy.stats import binomtest

_LEVEL = 0.95
_DIGITS = 12  # in which equal trade-offs agree


@dataclass(frozen=True)
class Share:
    """A share of some cases with its Wilson interval.

    Attributes:
        count: cases in which it is so.
        total: all cases.
        share: the one by the other.
        low, high: of the 95% interval, which takes cases for independent.
    """

    count: int
    total: int
    share: float
    low: float
    high: float


def share_of(count: int, total: int) -> Share:
    """The share and its interval.

    Raises:
        ValueError: if there is no case, or fewer than are counted.
    """
    interval = binomtest(count, total).proportion_ci(_LEVEL, method="wilson")
    return Share(count, total, count / total, float(interval.low), float(interval.high))


def num_maxima(values: Sequence[float]) -> int:
    """How many local maxima values have in their order; equal neighbours are one, and an end may be a maximum."""
    steps = [value for value, _ in groupby(round(value, _DIGITS) for value in values)]
    padded = [float("-inf"), *steps, float("-inf")]
    return sum(left < value > right for left, value, right in zip(padded[:-2], steps, padded[2:], strict=True))


def num_falls(metrics: Sequence[float]) -> int:
    """How many neighbouring pairs, from the smallest scale up, fall in their metric, against property 2 (MiniDisc)."""
    return sum(larger < smaller for smaller, larger in pairwise(metrics))
