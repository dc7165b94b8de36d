"""Metrics of a model's logits.

N rows, C outputs (1 for regression).
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.special import log_softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from minidisc_ray.core.task import Task

_ROUNDING = 1e-6  # relative: several times the precision of float32


def score(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,) class indices or values
) -> dict[str, float]:
    """All metrics of a task, the primary one first, then those used only for choices; each in [-1, 1].

    F1 is that of class 1 if there are two classes, and the mean over classes if there are more. A correlation is 0 if
    predictions or labels are constant.

    Raises:
        ValueError: if a logit is not finite, there are no rows, or the shapes do not fit the task.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if not len(labels) or logits.shape != (len(labels), task.num_labels):
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit {task.num_labels} outputs")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite; the model has diverged, or its checkpoint is damaged")
    predictions = logits[:, 0].astype(np.float64) if task.is_regression else logits.argmax(axis=1)
    targets = labels.astype(np.float64) if task.is_regression else labels.astype(np.int64)
    metrics = _METRICS if task.num_labels <= 2 else _METRICS | {"f1": partial(_f1, average="macro")}
    names = dict.fromkeys((*task.metrics, *task.selection_metrics))
    return {name: metrics[name](predictions, targets) for name in names}


def label_loss(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,)
) -> float:
    """The mean cross-entropy, or the mean squared error of a regression; breaks ties between equal scores."""
    if task.is_regression:
        return float(np.mean((logits[:, 0].astype(np.float64) - labels) ** 2))
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def majority_logits(
    task: Task,
    train_labels: np.ndarray,  # of train, for the mean of a regression
    labels: np.ndarray,  # (N,) of the rows to be scored
) -> np.ndarray:  # (N, C)
    """Logits of a constant answer: the most common class of the scored rows, or the mean value of train.

    No constant answer is right more often on the scored rows; the most common class of train may be another one.

    Raises:
        ValueError: if either has no rows.
    """
    if not len(train_labels) or not len(labels):
        raise ValueError("there are no labels")
    if task.is_regression:
        return np.full((len(labels), 1), float(np.mean(train_labels)))
    logits = np.zeros((len(labels), task.num_labels))
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


def _f1(predictions: np.ndarray, labels: np.ndarray, average: str = "binary") -> float:
    return float(f1_score(labels, predictions, average=average, zero_division=0))


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
    "f1": _f1,
    "matthews": partial(_correlation, matthews_corrcoef),
    "spearman": partial(_correlation, lambda predictions, labels: spearmanr(predictions, labels).statistic),
    "pearson": partial(_correlation, lambda predictions, labels: pearsonr(predictions, labels).statistic),
}
