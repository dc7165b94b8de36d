import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.core.tradeoff import (
    best_chain,
    best_scale,
    lambda_tradeoff,
    negative_derivative,
)

METRICS = {80: 0.90, 40: 0.84, 20: 0.60}


def test_lambda_tradeoff_by_hand():
    assert lambda_tradeoff(METRICS, 0.2) == pytest.approx({80: 0.94, 40: 0.96, 20: 0.76})
    assert lambda_tradeoff(METRICS) == lambda_tradeoff(METRICS, 0.2)
    assert lambda_tradeoff(METRICS, 1.0) == pytest.approx({80: 1.10, 40: 1.44, 20: 1.40})


def test_negative_derivative_by_hand_with_the_teacher_closing_the_grid():
    scores = negative_derivative(METRICS, teacher_metric=0.92)
    # (0.92 - 0.90) / 0.2, (0.90 - 0.84) / 0.4, (0.84 - 0.60) / 0.2
    assert scores == pytest.approx({80: -0.1, 40: -0.15, 20: -1.2})
    assert best_scale(scores) == 80
    assert negative_derivative(METRICS, teacher_metric=1.0)[80] == pytest.approx(-0.5)


def test_negative_derivative_takes_candidates_in_any_order():
    shuffled = {20: 0.60, 80: 0.90, 40: 0.84}
    assert negative_derivative(shuffled, 0.92) == negative_derivative(METRICS, 0.92)


@given(st.dictionaries(st.integers(1, 99), st.floats(-1, 1), min_size=1))
def test_lambda_of_zero_picks_the_best_metric_whatever_its_sign(metrics):
    chosen = best_scale(lambda_tradeoff(metrics, 0.0))
    assert metrics[chosen] == pytest.approx(max(metrics.values()), abs=1e-12)


def test_negative_metrics():
    metrics = {70: -0.10, 30: -0.30}
    assert lambda_tradeoff(metrics, 0.2) == pytest.approx({70: -0.04, 30: -0.16})
    assert best_scale(lambda_tradeoff(metrics, 0.2)) == 70
    assert best_scale(lambda_tradeoff(metrics, 0.6)) == 30
    assert negative_derivative(metrics, 0.2) == pytest.approx({70: -1.0, 30: -0.5})


def test_ties_fall_to_the_smallest_scale():
    assert best_scale({90: 0.5, 30: 0.5, 60: 0.5, 20: 0.4}) == 30
    assert best_scale({30: 0.5, 90: 0.5}) == 30


@pytest.mark.parametrize(
    ("metrics", "lam", "words"),
    [
        (METRICS, -0.1, "lambda is -0.1"),
        (METRICS, 1.1, "lambda is 1.1"),
        (METRICS, math.nan, "lambda is nan"),
        ({100: 0.5}, 0.2, "100 percent"),
        ({0: 0.5}, 0.2, "0 percent"),
        ({50: math.nan}, 0.2, "50 percent is nan"),
    ],
)
def test_what_is_no_candidate_is_refused(metrics, lam, words):
    with pytest.raises(ValueError, match=words):
        lambda_tradeoff(metrics, lam)


def test_a_teacher_without_a_metric_and_an_empty_choice_are_refused():
    with pytest.raises(ValueError, match="teacher's metric is nan"):
        negative_derivative(METRICS, math.nan)
    with pytest.raises(ValueError, match="no candidate"):
        best_scale({})


def test_under_an_assistant_scales_are_relative_to_its_own():
    assert lambda_tradeoff({40: 0.84, 20: 0.60}, 0.2, teacher_percent=80) == pytest.approx({40: 0.94, 20: 0.75})
    # (0.90 - 0.84) / 0.4 closes the grid under the assistant at 80.
    assert negative_derivative({40: 0.84, 20: 0.60}, 0.90, teacher_percent=80)[40] == pytest.approx(-0.15)
    with pytest.raises(ValueError, match="strictly between 0 and 80"):
        lambda_tradeoff({80: 0.9}, 0.2, teacher_percent=80)


@given(st.dictionaries(st.integers(1, 99), st.floats(-1, 1), min_size=1))
def test_a_chain_of_one_is_the_best_scale(metrics):
    scores = lambda_tradeoff(metrics, 0.2)
    assert best_chain(scores, 1) == (best_scale(scores),)


def test_a_chain_has_the_largest_sum_and_leaves_what_comes_after_it():
    scores = {80: 0.5, 60: 0.9, 40: 0.8, 20: 0.1}
    assert best_chain(scores, 2) == (60, 40)
    assert best_chain(scores, 1, num_below=3) == (80,)
    assert best_chain(scores, 2, num_below=2) == (80, 60)
    # Under 60 nothing counts, so that the best pair begins with 80.
    assert best_chain(scores, 2, score_below=lambda above, below: 0.0 if above == 60 else scores[below]) == (80, 60)
    assert best_chain({60: 0.5, 40: 0.5, 20: 0.5}, 2) == (40, 20), "of equals the smallest"
    with pytest.raises(ValueError, match="4 candidates are too few for 5 assistants"):
        best_chain(scores, 3, num_below=2)


class TestSecondOrder:
    def test_by_hand(self):
        """Both neighbours, each weighted by the other one's gap; the smallest candidate has one neighbour."""
        scores = negative_derivative(METRICS, teacher_metric=0.92, order=2)
        below, above = 0.4, 0.2  # of 80 percent: to 40, and to the teacher
        slope = (below**2 * (0.92 - 0.90) + above**2 * (0.90 - 0.84)) / (below * above * (below + above))
        assert scores[80] == pytest.approx(-slope)
        below, above = 0.2, 0.4
        slope = (below**2 * (0.90 - 0.84) + above**2 * (0.84 - 0.60)) / (below * above * (below + above))
        assert scores[40] == pytest.approx(-slope)
        assert scores[20] == negative_derivative(METRICS, teacher_metric=0.92)[20]

    def test_it_is_exact_on_parabolas_where_the_first_order_is_not(self):
        metrics = {scale: 0.5 + 0.6 * (scale / 100) - 0.2 * (scale / 100) ** 2 for scale in (90, 70, 65, 30, 20)}
        teacher = 0.9
        second, first = (negative_derivative(metrics, teacher, order=order) for order in (2, 1))
        for scale in (90, 70, 65, 30):
            assert second[scale] == pytest.approx(-(0.6 - 0.4 * scale / 100))
            assert first[scale] != pytest.approx(second[scale])

    def test_a_quarter_of_the_variance(self):
        generator = np.random.default_rng(0)
        scales = (80, 60, 40, 20)
        draws = [
            {scale: float(m) for scale, m in zip(scales, generator.normal(size=4), strict=True)} for _ in range(4000)
        ]
        of_order = {
            order: np.var(
                [negative_derivative(metrics, float(generator.normal()), order=order)[60] for metrics in draws]
            )
            for order in (1, 2)
        }
        assert of_order[2] / of_order[1] == pytest.approx(0.25, rel=0.1)


def test_equal_tradeoffs_are_equal_whatever_their_last_digit():
    """0.938 + 0.2 * 0.85 and 0.948 + 0.2 * 0.80 are both 1.108, and differ as floats."""
    scores = lambda_tradeoff({15: 0.938, 20: 0.948}, 0.2)
    assert scores[15] != scores[20]
    assert best_scale(scores) == 15
    assert best_chain(scores, 1) == (15,)
