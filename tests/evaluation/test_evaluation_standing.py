"""Metrics smoothed over scales, and how probably each candidate has the best trade-off."""

import numpy as np
import pytest

from minidisc_ray.core.task import Task
from minidisc_ray.evaluation.standing import standing_of

TASK = Task("made_up", ("text",), "label", ("a", "b"), ("accuracy",))
ROWS = 400


def answers(accuracy: float, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Logits that are right for so many rows."""
    right = np.random.default_rng(seed).permutation(len(labels)) < round(accuracy * len(labels))
    logits = np.zeros((len(labels), 2))
    logits[np.arange(len(labels)), np.where(right, labels, 1 - labels)] = 1.0
    return logits


@pytest.fixture
def labels():
    return np.arange(ROWS) % 2


def standing(labels, accuracies, teacher=0.9, lam=0.2, seed=0):
    logits = {scale: answers(accuracy, labels) for scale, accuracy in accuracies.items()}
    return standing_of(TASK, labels, logits, answers(teacher, labels), lam, seed)


def test_metrics_are_smoothed_where_they_rise_and_the_slice_is_no_candidate(labels):
    found = standing(labels, {80: 0.88, 60: 0.80, 40: 0.84, 10: 0.60})
    assert found.rises
    assert found.metrics == pytest.approx({80: 0.88, 60: 0.80, 40: 0.84, 10: 0.60})
    assert found.smoothed == pytest.approx({80: 0.88, 60: 0.82, 40: 0.82, 10: 0.60})
    assert found.tradeoffs == pytest.approx({80: 0.92, 60: 0.90, 40: 0.94})
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    assert set(found.probabilities) == {80, 60, 40}
    assert found.favourite == 40
    assert found.teacher_metric == pytest.approx(0.9)
    assert found.teacher_probability < 0.2


def test_metrics_that_fall_with_the_scale_are_left_as_they_are(labels):
    found = standing(labels, {80: 0.70, 60: 0.80, 40: 0.85, 10: 0.90})
    assert not found.rises
    assert found.smoothed == found.metrics


def test_a_constant_metric_has_no_error_and_the_smallest_is_the_favourite(labels):
    found = standing(labels, {80: 0.5, 40: 0.5, 20: 0.5, 10: 0.5}, teacher=0.5)
    assert not found.rises
    assert found.probabilities == {20: 1.0, 40: 0.0, 80: 0.0}
    assert found.standard_error == 0.0
    assert found.favourite == 20


def test_probabilities_tell_luck_from_a_lead(labels):
    even = standing(labels, {60: 0.80, 40: 0.76, 10: 0.5}, lam=0.2)
    clear = standing(labels, {60: 0.80, 40: 0.60, 10: 0.5}, lam=0.2)
    assert max(even.probabilities.values()) < 0.9
    assert clear.probabilities[60] == 1.0
    assert even == standing(labels, {60: 0.80, 40: 0.76, 10: 0.5}, lam=0.2), "the same seed draws the same rows"


def test_few_rows_decide_nothing(labels):
    few = labels[:12]
    found = standing(few, {80: 0.75, 60: 0.75, 40: 0.67, 20: 0.58, 10: 0.5}, lam=0.2)
    assert max(found.probabilities.values()) < 0.7


def test_a_regression_is_ranked_by_its_correlation():
    task = Task("made_up", ("text",), "label", (), ("spearman", "pearson"), selection_metrics=("spearman", "pearson"))
    values = np.linspace(0, 5, 100)
    noise = np.random.default_rng(0).normal(size=100)
    logits = {scale: (values + share * noise)[:, None] for scale, share in ((60, 0.1), (30, 1.0), (10, 5.0))}
    found = standing_of(task, values, logits, values[:, None], 0.0, seed=0)
    assert found.favourite == 60
    assert found.teacher_metric == pytest.approx(1.0)


def test_what_cannot_stand_is_refused(labels):
    with pytest.raises(ValueError, match="no candidate beside the student's slice"):
        standing(labels, {10: 0.5})
    broken = {40: np.full((ROWS, 2), np.nan), 10: answers(0.5, labels)}
    with pytest.raises(ValueError, match="not finite"):
        standing_of(TASK, labels, broken, answers(0.9, labels), 0.2, 0)
