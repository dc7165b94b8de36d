import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidisc_ray.core.tradeoff import LAMBDA_SCAN, best_scale, lambda_tradeoff, negative_derivative, scan_lambda

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
    assert metrics[chosen] == max(metrics.values())


def test_negative_metrics():
    metrics = {70: -0.10, 30: -0.30}
    assert lambda_tradeoff(metrics, 0.2) == pytest.approx({70: -0.04, 30: -0.16})
    assert best_scale(lambda_tradeoff(metrics, 0.2)) == 70
    assert best_scale(lambda_tradeoff(metrics, 0.6)) == 30
    assert negative_derivative(metrics, 0.2) == pytest.approx({70: -1.0, 30: -0.5})


def test_ties_fall_to_the_smallest_scale():
    assert best_scale({90: 0.5, 30: 0.5, 60: 0.5, 20: 0.4}) == 30
    assert best_scale({30: 0.5, 90: 0.5}) == 30


def test_the_scan_needs_no_training_and_moves_to_smaller_scales():
    # 80 beats 40 while lambda < 0.06 / 0.4 = 0.15; 20 beats 40 from 1.2 on, which no lambda reaches.
    assert scan_lambda(METRICS) == {0.1: 80, 0.2: 40, 0.3: 40, 0.4: 40, 0.5: 40, 0.6: 40, 0.7: 40}
    assert LAMBDA_SCAN == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


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
