import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.evaluation.assumptions import num_falls, num_maxima, share_of


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([1.0], 1),
        ([1, 2, 3], 1),
        ([3, 2, 1], 1),
        ([1, 3, 2], 1),
        ([2, 1, 3], 2),
        ([1, 2, 2, 1], 1),  # a plateau is one
        ([2, 2, 1, 2, 2], 2),
        ([1, 2, 1, 2, 1, 2], 3),
        ([1, 1, 1], 1),
    ],
)
def test_maxima(values, count):
    assert num_maxima(values) == count


def test_a_tradeoff_that_is_flat_but_for_rounding_has_one_maximum():
    assert num_maxima([(400 + 5 * i) / 500 + 0.2 * (1 - (15 + 5 * i) / 100) for i in range(16)]) == 1


@pytest.mark.parametrize(("metrics", "falls"), [([1, 2, 3], 0), ([1, 1, 1], 0), ([3, 2, 1], 2), ([1, 3, 2, 2, 1], 2)])
def test_falls(metrics, falls):
    assert num_falls(metrics) == falls


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_intervals_hold_the_share(case):
    count, total = case
    found = share_of(count, total)
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.high > found.low


def test_wilson_by_hand():
    found = share_of(3, 10)
    z, share = 1.959964, 0.3
    centre = (share + z * z / 20) / (1 + z * z / 10)
    half = z / (1 + z * z / 10) * (share * (1 - share) / 10 + z * z / 400) ** 0.5
    assert (found.low, found.high) == (pytest.approx(centre - half, abs=1e-6), pytest.approx(centre + half, abs=1e-6))
