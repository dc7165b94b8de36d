import numpy as np
import pytest
import scipy.stats

from minidisc_ray.evaluation import Resampling
from minidisc_ray.evaluation.trends import trend_of

FEW = Resampling(num_replicates=500)


def test_points_on_a_line_have_that_line_and_no_width():
    x = [0.0, 0.1, 0.2, 0.4, 0.5, 0.8]
    found = trend_of(x, [2 * value - 1 for value in x], "aabbcc", FEW)
    assert found is not None
    assert (found.spearman, found.low, found.high, found.excludes_zero) == (1, 1, 1, True)
    assert (found.slope, found.slope_low, found.slope_high) == pytest.approx((2, 2, 2))
    assert (found.num_points, found.num_clusters) == (6, 3)
    assert (found.line[0].x, found.line[-1].x) == (0.0, 0.8)
    for point in found.line:
        assert (point.y, point.low, point.high) == pytest.approx((2 * point.x - 1,) * 3)


def test_correlation_and_line_are_scipys():
    generator = np.random.default_rng(3)
    x = generator.normal(size=40)
    y = (0.5 * x + generator.normal(size=40)).round(1)  # with ties
    found = trend_of(x.tolist(), y.tolist(), ["a"] * 40, Resampling(num_replicates=4000))
    assert found is not None
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found.slope == pytest.approx(scipy.stats.linregress(x, y).slope)
    # One cluster: the plain paired bootstrap of points.
    expected = scipy.stats.bootstrap(
        (x, y), lambda x, y: scipy.stats.spearmanr(x, y).statistic, n_resamples=1000, paired=True, vectorized=False,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.05)


def test_seeds_of_one_task_are_not_counted_as_tasks():
    """Three tasks with twenty nearly equal seeds each say no more than three points."""
    x, y = np.repeat([0.0, 1.0, 2.0], 20), np.repeat([0.0, 2.0, 1.0], 20) + np.tile(np.arange(20) / 100, 3)
    by_task = trend_of(x.tolist(), y.tolist(), np.repeat([0, 1, 2], 20).tolist(), FEW)
    as_if_independent = trend_of(x.tolist(), y.tolist(), range(60), FEW)
    assert by_task is not None
    assert as_if_independent is not None
    assert by_task.spearman == as_if_independent.spearman
    assert as_if_independent.excludes_zero
    assert not by_task.excludes_zero
    # A ninth of the replicates draw one task three times, so all their x are equal.
    assert by_task.num_undefined_replicates / 500 == pytest.approx(1 / 9, abs=0.05)


def test_one_value_alone_has_no_trend_and_bad_input_is_refused():
    assert trend_of([1.0, 1.0], [0.0, 1.0], "ab", FEW) is None
    assert trend_of([0.0, 1.0], [2.0, 2.0], "ab", FEW) is None
    assert trend_of([], [], [], FEW) is None
    with pytest.raises(ValueError, match="1 x, 2 y and 2 clusters"):
        trend_of([1.0], [1.0, 2.0], "ab", FEW)
    with pytest.raises(ValueError, match="not finite"):
        trend_of([1.0, float("nan")], [1.0, 2.0], "ab", FEW)
