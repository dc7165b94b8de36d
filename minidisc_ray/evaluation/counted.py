"""Metrics of classes and labels from weighted counts of rows, for many models and many draws of rows at once.

N rows, C classes or labels, M models, B draws of rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidisc_ray.core.task import Task

# Elements of the largest temporary: 16 MB in float32.
_BLOCK_ELEMENTS = 2**22


def counted_scores(
    metric: str,
    task: Task,
    labels: np.ndarray,  # (N,) or (N, C)
    predictions: np.ndarray,  # (M, N) or (M, N, C)
    weights: np.ndarray,  # (B, N)
    totals: np.ndarray,  # (B,)
) -> np.ndarray:  # (B, M)
    """A metric of each model on each draw, equal to that of ``score`` on rows repeated by their weights."""
    # F1 of a two-class task is that of class 1; other metrics use all classes.
    classes = np.arange(1, 2) if metric == "f1" else np.arange(task.num_labels)

    def by_class(rows: np.ndarray) -> np.ndarray:  # (..., N) or (..., N, C) -> (..., C, N)
        found: np.ndarray = rows.swapaxes(-1, -2) == 1 if task.is_multilabel else rows[..., None, :] == classes[:, None]
        return found

    def count(chosen: np.ndarray) -> np.ndarray:  # (..., N) -> (B, ...)
        flat = chosen.reshape(-1, chosen.shape[-1]).T.astype(weights.dtype)
        counts: np.ndarray = (weights @ flat).astype(np.float64)
        return counts.reshape(len(weights), *chosen.shape[:-1])

    of_label = by_class(labels)  # (C, N)
    labelled = count(of_label)[:, None]  # (B, 1, C)
    scores = np.empty((len(weights), len(predictions)))
    block = max(1, _BLOCK_ELEMENTS // (len(labels) * len(classes)))
    for start in range(0, len(predictions), block):
        chunk = predictions[start : start + block]  # (m, N) or (m, N, C)
        if metric == "accuracy":
            right = (chunk == labels).all(axis=2) if task.is_multilabel else chunk == labels
            scores[:, start : start + block] = count(right) / totals[:, None]
            continue
        of_class = by_class(chunk)  # (m, C, N)
        counts = _Counts(count(of_class & of_label), count(of_class), labelled, totals[:, None])
        scores[:, start : start + block] = _FORMULAS[metric](counts, task.is_multilabel)
    return scores


class _Counts(NamedTuple):
    """Weighted numbers of rows, by draw, model and class."""

    hits: np.ndarray  # (B, m, C) of the class, and found to be
    predicted: np.ndarray  # (B, m, C)
    labelled: np.ndarray  # (B, 1, C)
    totals: np.ndarray  # (B, 1)


def _f1_by_class(counts: _Counts) -> tuple[np.ndarray, np.ndarray]:  # (B, m, C) each
    """F1 of each class, and the rows that are of it or predicted to be: without any, F1 is 0."""
    either = counts.predicted + counts.labelled
    return _quotient(2 * counts.hits, either), either


def _macro_f1(counts: _Counts, is_multilabel: bool) -> np.ndarray:  # (B, m)
    by_class, either = _f1_by_class(counts)
    # A class that is neither drawn nor predicted is left out of the mean; a label of a multi-label task is not.
    num_classes = either.shape[2] if is_multilabel else np.maximum((either > 0).sum(axis=2), 1)
    mean: np.ndarray = by_class.sum(axis=2) / num_classes
    return mean


def _weighted_f1(counts: _Counts, is_multilabel: bool) -> np.ndarray:  # noqa: ARG001
    by_class, _ = _f1_by_class(counts)
    return _quotient((by_class * counts.labelled).sum(axis=2), counts.labelled.sum(axis=2))


def _micro_f1(counts: _Counts, is_multilabel: bool) -> np.ndarray:  # noqa: ARG001
    return _quotient(2 * counts.hits.sum(axis=2), (counts.predicted + counts.labelled).sum(axis=2))


def _balanced_accuracy(counts: _Counts, is_multilabel: bool) -> np.ndarray:  # noqa: ARG001
    recalls = _quotient(counts.hits, counts.labelled)
    mean: np.ndarray = recalls.sum(axis=2) / np.maximum((counts.labelled > 0).sum(axis=2), 1)
    return mean


def _matthews(counts: _Counts, is_multilabel: bool) -> np.ndarray:  # noqa: ARG001
    hits, predicted, labelled, totals = counts
    covariance = hits.sum(axis=2) * totals - (predicted * labelled).sum(axis=2)
    of_predicted = totals**2 - (predicted**2).sum(axis=2)
    of_labelled = totals**2 - (labelled**2).sum(axis=2)
    return correlation_ratio(covariance, of_predicted * of_labelled)


def _quotient(counted: np.ndarray, total: np.ndarray) -> np.ndarray:
    """A quotient; 0 where the total is 0, as in ``score``."""
    found: np.ndarray = np.divide(counted, total, out=np.zeros_like(counted), where=total > 0)
    return found


def correlation_ratio(covariance: np.ndarray, squared_scale: np.ndarray) -> np.ndarray:
    """A correlation in [-1, 1]; 0 if one side is constant, as in ``score``."""
    scale = np.sqrt(squared_scale)
    ratio: np.ndarray = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return ratio.clip(-1.0, 1.0)


_FORMULAS: dict[str, Callable[[_Counts, bool], np.ndarray]] = {  # -> (B, m)
    "f1": _macro_f1,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
    "micro_f1": _micro_f1,
    "balanced_accuracy": _balanced_accuracy,
    "matthews": _matthews,
}
