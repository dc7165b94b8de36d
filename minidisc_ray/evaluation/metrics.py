"""Metrics of a model's logits, by scikit-learn and SciPy.

N rows, C outputs (1 for regression). Labels are class indices or values, (N,), or 0 and 1 for each label, (N, C).
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.special import log_softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
    recall_score,
)

from minidisc_ray.core.task import Task

_ROUNDING = 1e-6  # relative: several times the precision of float32


def score(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,) or (N, C)
) -> dict[str, float]:
    """All metrics of a task, the primary one first, then those used only for choices; each but errors in [-1, 1].

    ``f1`` is that of class 1 of two classes. Macro means are over the classes that labels or predictions have, and over
    all labels of a multi-label task, whose ``accuracy`` is the share of rows with every label right. A correlation is 0
    if predictions or labels are constant.

    Raises:
        ValueError: if a logit is not finite, there are no rows, or the shapes do not fit the task.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    fits = labels.shape == (logits.shape if task.is_multilabel else logits.shape[:1])
    if not len(labels) or logits.shape != (len(labels), task.num_labels) or not fits:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit {task.num_labels} outputs")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite; the model has diverged, or its checkpoint is damaged")
    predictions = predictions_from(task, logits)
    targets = labels.astype(np.float64 if task.is_regression else np.int64)
    names = dict.fromkeys((*task.metrics, *task.selection_metrics))
    if "f1" in names and task.num_labels != 2:
        raise ValueError(f"f1 is of two classes, and the task has {task.num_labels}")
    return {name: _METRICS[name](predictions, targets) for name in names}


def predictions_from(
    task: Task,
    logits: np.ndarray,  # (N, C)
) -> np.ndarray:  # (N,), or (N, C) of 0 and 1
    """What a model answers: the likeliest class, the value, or every label whose sigmoid is above 0.5."""
    match task.output:
        case "class":
            predictions: np.ndarray = logits.argmax(axis=1).astype(np.int32)
        case "labels":
            predictions = (logits > 0).astype(np.int8)
        case "value":
            predictions = logits[:, 0].astype(np.float64)
    return predictions


def label_loss(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,) or (N, C)
) -> float:
    """The mean cross-entropy, or the mean squared error of a regression; breaks ties between equal scores."""
    if task.is_regression:
        return float(np.mean((logits[:, 0].astype(np.float64) - labels) ** 2))
    if task.is_multilabel:
        values = logits.astype(np.float64)
        return float(np.mean(np.logaddexp(0.0, values) - values * labels))
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def majority_logits(
    task: Task,
    train_labels: np.ndarray,  # of train, for the mean of a regression
    labels: np.ndarray,  # (N,) or (N, C) of the rows to be scored
) -> np.ndarray:  # (N, C)
    """Logits of a constant answer: the most common class of the scored rows, or the mean value of train.

    Of a multi-label task it is the more common answer, yes or no, to each label of the scored rows. No constant answer
    is right more often on the scored rows; the most common class of train may be another one.

    Raises:
        ValueError: if either has no rows.
    """
    if not len(train_labels) or not len(labels):
        raise ValueError("there are no labels")
    if task.is_regression:
        return np.full((len(labels), 1), float(np.mean(train_labels)))
    logits = np.zeros((len(labels), task.num_labels))
    if task.is_multilabel:
        return logits + np.where(labels.mean(axis=0) > 0.5, 1.0, -1.0)
    logits[:, np.bincount(labels, minlength=task.num_labels).argmax()] = 1.0
    return logits


def majority_scores(task: Task, train_labels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The metrics of ``majority_logits``.

    Raises:
        ValueError: if either has no rows.
    """
    return score(task, majority_logits(task, train_labels, labels), labels)


def merge_scores(task: Task, by_split: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The metrics of all validation sets in one dict: by name for the primary set, as ``metric@set`` for others.

    Raises:
        KeyError: if the primary validation set is missing.
    """
    primary = task.validation_splits[0]
    merged = dict(by_split[primary])
    for split, scores in by_split.items():
        if split != primary:
            merged |= {f"{name}@{split}": value for name, value in scores.items()}
    return merged


def _f1(average: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(f1_score(labels, predictions, average=average, zero_division=0))


def _balanced_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean recall of the classes that labels have; scikit-learn's own function warns of any other prediction."""
    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0))


def _correlation(
    compute: Callable[[np.ndarray, np.ndarray], float], predictions: np.ndarray, labels: np.ndarray
) -> float:
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    with warnings.catch_warnings():
        # scipy warns of predictions that are nearly constant, but gives a value.
        warnings.simplefilter("ignore")
        value = float(compute(predictions, labels))
    return value if np.isfinite(value) else 0.0


def _is_constant(values: np.ndarray) -> bool:
    """Whether values differ by rounding at most, so that their order has no meaning."""
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda predictions, labels: float(accuracy_score(labels, predictions)),
    "f1": partial(_f1, "binary"),
    "macro_f1": partial(_f1, "macro"),
    "weighted_f1": partial(_f1, "weighted"),
    "micro_f1": partial(_f1, "micro"),
    "balanced_accuracy": _balanced_accuracy,
    "matthews": partial(_correlation, matthews_corrcoef),
    "spearman": partial(_correlation, lambda predictions, labels: spearmanr(predictions, labels).statistic),
    "pearson": partial(_correlation, lambda predictions, labels: pearsonr(predictions, labels).statistic),
    "mean_squared_error": lambda predictions, labels: float(mean_squared_error(labels, predictions)),
    "mean_absolute_error": lambda predictions, labels: float(mean_absolute_error(labels, predictions)),
}
