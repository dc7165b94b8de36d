"""How one number changes with another over points in clusters, such as seeds of tasks.

N points, K clusters, S points drawn from a cluster, B replicates, G positions along a line.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.evaluation.agreement import spearman
from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Resampling, percentile_ends

_NUM_POSITIONS = 21


@dataclass(frozen=True)
class LinePoint:
    """One position of a fitted line with its pointwise interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    """Rank correlation and least-squares line of two numbers, with percentile intervals.

    Attributes:
        spearman: the rank correlation.
        low: lower end of its interval.
        high: upper end.
        level: share of replicates between them.
        excludes_zero: whether both ends are on one side of zero.
        slope: of the line.
        slope_low: lower end of its interval.
        slope_high: upper end.
        line: the line from the smallest to the largest x.
        num_points: all points.
        num_clusters: clusters that they belong to.
        num_undefined_replicates: replicates that drew one value alone of x or y; they are left out.
    """

    spearman: float
    low: float
    high: float
    level: float
    excludes_zero: bool
    slope: float
    slope_low: float
    slope_high: float
    line: tuple[LinePoint, ...]
    num_points: int
    num_clusters: int
    num_undefined_replicates: int


def trend_of(
    x: Sequence[float],  # N
    y: Sequence[float],  # N
    clusters: Sequence[Hashable],  # N
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Trend | None:
    """Correlate and fit y on x; None if x or y has one value only.

    Each replicate draws clusters with replacement, then points of each drawn cluster with replacement, equally many of
    each, so that it has about N points. With one cluster points alone are drawn.

    Raises:
        ValueError: if lengths differ, or a number is not finite.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not len(first) == len(second) == len(clusters):
        raise ValueError(f"there are {len(first)} x, {len(second)} y and {len(clusters)} clusters; give equally many")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("x or y has a number that is not finite")
    if not len(first) or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    drawn = _draws(clusters, resampling)  # (B, K * S)
    drawn_x, drawn_y = first[drawn], second[drawn]
    correlations = spearman(drawn_x, drawn_y)
    is_defined = np.isfinite(correlations)
    if not is_defined.any():
        return None
    slopes, intercepts = _lines(drawn_x[is_defined], drawn_y[is_defined])
    ((slope,), (intercept,)) = _lines(first[None], second[None])
    positions = np.linspace(first.min(), first.max(), _NUM_POSITIONS)  # (G,)
    heights = intercepts[:, None] + slopes[:, None] * positions  # (B, G)
    ends = [percentile_ends(column, resampling.level) for column in heights.T]
    low, high = percentile_ends(correlations[is_defined], resampling.level)
    slope_low, slope_high = percentile_ends(slopes, resampling.level)
    return Trend(
        spearman=float(spearman(first[None], second[None])[0]),
        low=low,
        high=high,
        level=resampling.level,
        excludes_zero=low > 0 or high < 0,
        slope=float(slope),
        slope_low=slope_low,
        slope_high=slope_high,
        line=tuple(
            LinePoint(float(at), float(intercept + slope * at), *of_line)
            for at, of_line in zip(positions, ends, strict=True)
        ),
        num_points=len(first),
        num_clusters=len(set(clusters)),
        num_undefined_replicates=int((~is_defined).sum()),
    )


def _draws(clusters: Sequence[Hashable], resampling: Resampling) -> np.ndarray:  # (B, K * S)
    """The points of each replicate."""
    members: dict[Hashable, list[int]] = {}
    for place, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(place)
    sizes = np.array([len(places) for places in members.values()])
    starts = np.cumsum(sizes) - sizes
    in_order = np.concatenate(list(members.values()))
    generator = np.random.default_rng((resampling.seed, len(clusters)))
    picked = generator.integers(len(sizes), size=(resampling.num_replicates, len(sizes)))
    num_each = max(1, round(len(clusters) / len(sizes)))
    within = generator.random((*picked.shape, num_each)) * sizes[picked][..., None]
    found: np.ndarray = in_order[(starts[picked][..., None] + within.astype(np.int64)).reshape(len(picked), -1)]
    return found


def _lines(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (B, N) each -> (B,) each
    """Slope and intercept of the least-squares line of each row."""
    from_mean = x - x.mean(axis=1, keepdims=True)
    slopes = (from_mean * y).sum(axis=1) / (from_mean**2).sum(axis=1)
    return slopes, y.mean(axis=1) - slopes * x.mean(axis=1)
