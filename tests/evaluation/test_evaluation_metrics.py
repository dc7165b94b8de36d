import dataclasses

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
)

from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import label_loss, majority_scores, merge_scores, score

AVERAGES = ("macro_f1", "weighted_f1", "micro_f1")


def classification(classes, metrics=("f1", "accuracy", "matthews")):
    return Task("test", ("text",), "label", tuple("abcdef"[:classes]), metrics)


def multilabel(labels, metrics=("micro_f1", "macro_f1", "weighted_f1", "accuracy")):
    return Task("test", ("text",), "label", tuple("abcdef"[:labels]), metrics, is_multilabel=True)


REGRESSION = Task("test", ("text",), "label", (), ("spearman", "pearson"))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_classification_is_sklearns(classes, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=200)
    logits = generator.normal(size=(200, classes)).astype(np.float32)
    logits[np.arange(200), labels] += 1
    predicted = logits.argmax(1)
    metrics = ("accuracy", "matthews", "balanced_accuracy", *AVERAGES)
    scores = score(classification(classes, metrics), logits, labels)
    assert tuple(scores) == metrics
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert scores["matthews"] == pytest.approx(matthews_corrcoef(labels, predicted), abs=1e-12)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12)
    for name in AVERAGES:
        expected = f1_score(labels, predicted, average=name.removesuffix("_f1"))
        assert scores[name] == pytest.approx(expected, abs=1e-12)
    if classes == 2:
        assert score(classification(2), logits, labels)["f1"] == f1_score(labels, predicted)


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_are_sklearns(seed):
    generator = np.random.default_rng(seed)
    labels = (generator.random((200, 4)) < (0.6, 0.3, 0.1, 0.02)).astype(np.float32)
    logits = (2 * labels - 1 + generator.normal(size=labels.shape)).astype(np.float32)
    predicted = 1 / (1 + np.exp(-logits)) > 0.5
    scores = score(multilabel(4), logits, labels)
    assert list(scores) == ["micro_f1", "macro_f1", "weighted_f1", "accuracy"]
    assert scores["accuracy"] == accuracy_score(labels, predicted)
    for name in AVERAGES:
        expected = f1_score(labels, predicted, average=name.removesuffix("_f1"), zero_division=0)
        assert scores[name] == pytest.approx(expected, abs=1e-12)


def test_several_labels_by_hand():
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    logits = np.array([[2.0, -1, -1], [1, 3, -1], [-1, -1, -1]])  # right, missed, wrong
    scores = score(multilabel(3), logits, labels)
    assert scores["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    # The third label is nowhere: its F1 is 0 and it counts.
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert label_loss(multilabel(3), logits, labels) == pytest.approx(
        np.mean([log_loss(labels[:, c], 1 / (1 + np.exp(-logits[:, c])), labels=[0, 1]) for c in range(3)])
    )


def test_f1_is_of_two_classes_alone():
    with pytest.raises(ValueError, match="f1 is of two classes, and the task has 3"):
        score(classification(3), np.eye(3), np.arange(3))


def test_errors_are_sklearns():
    generator = np.random.default_rng(0)
    labels, logits = generator.normal(size=50), generator.normal(size=(50, 1)).astype(np.float32)
    metrics = ("spearman", "mean_squared_error", "mean_absolute_error")
    scores = score(dataclasses.replace(REGRESSION, metrics=metrics), logits, labels)
    assert tuple(scores) == metrics
    assert scores["mean_squared_error"] == pytest.approx(mean_squared_error(labels, logits[:, 0]), abs=1e-12)
    assert scores["mean_absolute_error"] == pytest.approx(mean_absolute_error(labels, logits[:, 0]), abs=1e-12)


def test_f1_by_hand():
    logits = np.eye(2)[[1, 1, 0, 0, 1]]  # two right ones of class 1, one wrong, one missed
    assert score(classification(2), logits, np.array([1, 0, 0, 1, 1]))["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


@pytest.mark.parametrize("seed", range(3))
def test_correlations_are_scipys(seed):
    generator = np.random.default_rng(seed)
    labels = generator.uniform(0, 5, 100).astype(np.float32)
    logits = (labels + generator.normal(size=100)).astype(np.float32)[:, None]
    scores = score(REGRESSION, logits, labels)
    assert scores["spearman"] == pytest.approx(spearmanr(logits[:, 0], labels).statistic, abs=1e-6)
    assert scores["pearson"] == pytest.approx(pearsonr(logits[:, 0], labels).statistic, abs=1e-6)


def test_constant_predictions_score_nothing_and_do_not_warn():
    assert score(REGRESSION, np.full((5, 1), 2.0), np.arange(5.0)) == {"spearman": 0.0, "pearson": 0.0}
    assert score(REGRESSION, np.arange(5.0)[:, None], np.full(5, 1.0)) == {"spearman": 0.0, "pearson": 0.0}
    always_first = np.tile([1.0, 0.0], (6, 1))
    assert score(classification(2), always_first, np.array([0, 1] * 3)) == {"f1": 0.0, "accuracy": 0.5, "matthews": 0.0}
    assert score(classification(2), always_first, np.zeros(6, dtype=int))["matthews"] == 0.0
    nearly = np.array([1.0, 1.0 + 1e-15, 1.0, 1.0])[:, None]
    assert np.isfinite(list(score(REGRESSION, nearly, np.arange(4.0)).values())).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite(bad):
    logits = np.zeros((3, 2))
    logits[1, 1] = bad
    with pytest.raises(ValueError, match="logits are not finite"):
        score(classification(2), logits, np.array([0, 1, 0]))


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (3,)])
def test_shapes(shape):
    with pytest.raises(ValueError, match="do not fit 2 outputs"):
        score(classification(2), np.zeros(shape), np.array([0, 1, 0]))


def test_majority():
    # Of the rows that are scored: train's commonest class would get 25 percent here.
    scores = majority_scores(classification(2), np.array([1, 1, 0]), np.array([1, 0, 0, 0]))
    assert scores == {"f1": 0.0, "accuracy": 0.75, "matthews": 0.0}
    assert majority_scores(classification(2), np.array([0, 0, 0]), np.array([1, 1, 1, 0])) == {
        "f1": pytest.approx(6 / 7),
        "accuracy": 0.75,
        "matthews": 0.0,
    }
    assert majority_scores(REGRESSION, np.array([1.0, 2.0]), np.arange(4.0)) == {"spearman": 0.0, "pearson": 0.0}
    with pytest.raises(ValueError, match="there are no labels"):
        majority_scores(REGRESSION, np.array([]), np.arange(4.0))


def test_majority_of_several_labels():
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0]])
    found = majority_scores(multilabel(3), labels, labels)
    assert found["accuracy"] == pytest.approx(1 / 3)  # the first label alone
    assert found["micro_f1"] == pytest.approx(2 * 3 / (3 + 5))


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((3, 3)), np.zeros((2, 2))])
def test_shapes_of_several_labels(labels):
    with pytest.raises(ValueError, match="do not fit 2 outputs"):
        score(multilabel(2), np.zeros((3, 2)), labels)


def test_merge():
    task = Task("mnli", ("a", "b"), "label", ("x", "y"), ("accuracy",), ("matched", "mismatched"))
    by_split = {"mismatched": {"accuracy": 0.5}, "matched": {"accuracy": 0.75}}
    assert merge_scores(task, by_split) == {"accuracy": 0.75, "accuracy@mismatched": 0.5}
    with pytest.raises(KeyError):
        merge_scores(task, {"mismatched": {"accuracy": 0.5}})


def test_label_loss_by_hand():
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6]]))
    assert label_loss(classification(2), logits, np.array([0, 1])) == pytest.approx(-np.log([0.8, 0.6]).mean())
    assert label_loss(REGRESSION, np.array([[1.0], [3.0]]), np.array([2.0, 3.0])) == pytest.approx(0.5)


class TestSelectionMetrics:
    def test_a_mean_of_several(self):
        task = dataclasses.replace(classification(2), metrics=("f1",), selection_metrics=("accuracy", "f1"))
        scores = score(task, np.eye(2)[[1, 0, 1, 0]], np.array([1, 1, 1, 0]))
        assert list(scores) == ["f1", "accuracy"]  # the primary one first
        assert task.selection_score(scores) == pytest.approx((0.75 + 0.8) / 2)
        assert task.selection_label == "mean of accuracy and f1"

    def test_the_primary_one_by_default(self):
        task = classification(2)
        scores = score(task, np.eye(2)[[1, 0]], np.array([1, 1]))
        assert task.selection_score(scores) == scores[task.primary_metric]
        assert task.selection_label == task.primary_metric
