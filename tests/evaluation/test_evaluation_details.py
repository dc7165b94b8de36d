"""What is behind a score: counted by hand."""

import numpy as np
import pytest

from minidisc_ray.evaluation import ClassDetails, ErrorDetails, details_of

NAMES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
PREDICTIONS = np.array([0, 1, 1, 1, 0, 2, 0, 2])


def logits_of(predictions, classes):  # (N,) -> (N, C)
    return np.eye(classes)[predictions]


@pytest.fixture
def details() -> ClassDetails:
    found = details_of(NAMES, logits_of(PREDICTIONS, 3), LABELS)
    assert isinstance(found, ClassDetails)
    return found


def test_the_confusion_counts_rows_by_label_and_prediction(details):
    assert details.names == NAMES
    assert details.confusion.tolist() == [[1, 2, 0], [1, 1, 0], [1, 0, 2]]
    assert details.shares()[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])


def test_each_class_has_its_precision_recall_and_f1(details):
    a, b, c = details.scores
    assert (a.precision, a.recall, a.support) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 3)
    assert (b.precision, b.recall, b.f1) == (pytest.approx(1 / 3), pytest.approx(1 / 2), pytest.approx(0.4))
    assert (c.precision, c.recall, c.f1) == (1.0, pytest.approx(2 / 3), pytest.approx(0.8))


def test_the_most_confused_pairs_come_first(details):
    pairs = [(pair.label, pair.prediction, pair.rows) for pair in details.confused_pairs()]
    assert pairs == [("a", "b", 2), ("b", "a", 1), ("c", "a", 1)]
    assert details.confused_pairs()[0].share == pytest.approx(2 / 3)


def test_a_class_without_rows_or_predictions_has_zeros():
    found = details_of((*NAMES, "d"), logits_of(PREDICTIONS, 4), LABELS)
    assert isinstance(found, ClassDetails)
    last = found.scores[-1]
    assert (last.precision, last.recall, last.f1, last.support) == (0, 0, 0, 0)
    assert found.shares()[-1].tolist() == [0, 0, 0, 0]


def test_the_errors_of_a_regression():
    labels = np.array([1.0, 2.0, 3.0, 4.0, 5.0], dtype=np.float32)
    found = details_of((), np.array([[1.5], [2.0], [2.0], [4.0], [7.0]]), labels)
    assert isinstance(found, ErrorDetails)
    assert found.num_rows == 5
    assert found.mean_squared_error == pytest.approx((0.25 + 1 + 4) / 5)
    assert found.mean_absolute_error == pytest.approx(3.5 / 5)
    assert found.residual_quantiles[0.25] == 0
    assert found.residual_quantiles[0.75] == pytest.approx(0.5)  # of -1, 0, 0, 0.5, 2


@pytest.mark.parametrize(
    ("names", "logits", "labels"),
    [
        (NAMES, np.zeros((0, 3)), np.zeros(0, dtype=int)),
        (NAMES, np.zeros((2, 2)), np.zeros(2, dtype=int)),
        (NAMES, np.full((2, 3), np.nan), np.zeros(2, dtype=int)),
        ((), np.zeros((2, 2)), np.zeros(2)),
    ],
)
def test_what_does_not_fit_is_refused(names, logits, labels):
    with pytest.raises(ValueError, match="logits"):
        details_of(names, logits, labels)


def test_labels_of_a_multi_label_task_are_scored_one_by_one_without_a_matrix():
    labels = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1]], dtype=np.float32)
    logits = np.array([[2.0, -1.0, -1.0], [1.0, 1.0, -2.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 3.0]])
    found = details_of(("a", "b", "c"), logits, labels)
    assert (found.num_rows, found.confusion) == (4, None)
    assert [(one.name, one.precision, one.recall, one.support) for one in found.scores] == [
        ("a", pytest.approx(2 / 3), 1.0, 2),
        ("b", 1.0, 0.5, 2),
        ("c", 1.0, 0.5, 2),
    ]
    with pytest.raises(ValueError, match="do not fit"):
        details_of(("a", "b", "c"), logits, labels[:, :2])
