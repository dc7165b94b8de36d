"""A task's metric on weighted rows, for many models and many draws of rows at once.

N rows, C outputs (1 for regression), M models, B draws of rows. In a multi-label task labels and predictions are
(N, C) of 0 and 1 where others have (N,).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.core.task import Task
from minidisc_ray.evaluation.counted import correlation_ratio, counted_scores
from minidisc_ray.evaluation.metrics import predictions_from


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one model, from ``LabelledRows.predictions``.

    Attributes:
        by_split: split -> (N,) class indices or values, or (N, C) of 0 and 1.
    """

    by_split: Mapping[str, np.ndarray]


class LabelledRows:
    """The labels of the rows that all models of a study are scored on.

    Attributes:
        task: has the primary metric, and the metrics that choices use.
        labels: split -> (N,) class indices or values, or (N, C) of 0 and 1.
        selection_split: on which assistants and students are chosen; a validation set under ``protocol: paper``.
        scored_splits: on which students are compared, by the mean of the metric over them.
    """

    def __init__(
        self,
        task: Task,
        labels_by_split: Mapping[str, np.ndarray],  # split -> (N,) or (N, C)
        selection_split: str = "selection",
        scored_splits: Sequence[str] | None = None,
    ) -> None:
        """Check and keep the labels; by default students are compared on the task's primary validation set.

        Raises:
            ValueError: if a split has no rows, a label is no class or value of the task, or a scored split is missing.
        """
        self.task = task
        self.labels = {split: _checked_labels(task, split, labels) for split, labels in labels_by_split.items()}
        self.selection_split = selection_split
        self.scored_splits = task.validation_splits[:1] if scored_splits is None else tuple(scored_splits)
        for split in self.scored_splits:
            self.labels_of(split)
        if not self.scored_splits or len(set(self.scored_splits)) != len(self.scored_splits):
            raise ValueError(f"scored_splits are {list(self.scored_splits)}; name at least one, and each once")

    def predictions(
        self,
        logits_by_split: Mapping[str, np.ndarray],  # split -> (N, C)
    ) -> Predictions:
        """Reduce a model's logits to its predictions; splits that it is not scored on may be missing.

        Raises:
            ValueError: if a split is unknown, a shape does not fit its labels, or a logit is not finite.
        """
        kept: dict[str, np.ndarray] = {}
        for split, given in logits_by_split.items():
            logits, expected = np.asarray(given), (len(self.labels_of(split)), self.task.num_labels)
            if logits.shape != expected:
                raise ValueError(f"logits of split {split!r} are {logits.shape}; its labels need {expected}")
            if not np.isfinite(logits).all():
                raise ValueError(f"logits of split {split!r} are not finite; leave out models that diverged")
            kept[split] = predictions_from(self.task, logits)
        return Predictions(kept)

    def labels_of(self, split: str) -> np.ndarray:  # (N,) or (N, C)
        """One split's labels.

        Raises:
            ValueError: if the split is unknown.
        """
        if split not in self.labels:
            raise ValueError(f"there are no labels of split {split!r}, only of {sorted(self.labels)}")
        return self.labels[split]

    def num_rows(self, splits: Sequence[str]) -> int:
        """The number of rows of some splits together.

        Raises:
            ValueError: if a split is unknown.
        """
        return sum(len(self.labels_of(split)) for split in splits)

    def fingerprint(self, splits: Sequence[str]) -> int:
        """A checksum of the task's name and of the labels of some splits; seeds the draws of their rows."""
        value = zlib.crc32(self.task.name.encode())
        for split in splits:
            value = zlib.crc32(self.labels_of(split).tobytes(), zlib.crc32(split.encode(), value))
        return value


def weighted_scores(
    rows: LabelledRows,
    split: str,
    models: Sequence[Predictions],  # M
    weights: np.ndarray,  # (B, N) how often each row counts
    selects: bool = False,
) -> np.ndarray:  # (B, M)
    """The primary metric of each model, equal to that of ``score`` on rows repeated by their weights.

    With ``selects``, the metric that choices use instead: another one, or the mean of several.

    Raises:
        ValueError: if a split is unknown, a model has no predictions of it, or the weights are not counts of its rows.
    """
    labels, weights = rows.labels_of(split), np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        raise ValueError(f"weights {weights.shape} do not fit the {len(labels)} rows of split {split!r}")
    predictions = _stacked(split, models, len(labels))
    totals = weights.sum(axis=1, dtype=np.float64)
    if not (totals > 0).all() or (weights < 0).any() or not (weights == np.floor(weights)).all():
        raise ValueError(f"weights of split {split!r} must be whole numbers from 0, and each draw needs a row above 0")

    def metric_scores(metric: str) -> np.ndarray:  # (B, M)
        if metric in ("spearman", "pearson"):
            return _correlations(metric, labels, predictions, weights.astype(np.float64))
        # float32 adds whole numbers exactly up to 2^24, in half the time and memory.
        precision = np.float32 if totals.max() < 2**24 else np.float64
        return counted_scores(metric, rows.task, labels, predictions, weights.astype(precision), totals)

    found = [metric_scores(metric) for metric in (rows.task.chosen_by if selects else (rows.task.primary_metric,))]
    return found[0] if len(found) == 1 else np.mean(found, axis=0)


def _checked_labels(task: Task, split: str, given: np.ndarray) -> np.ndarray:
    labels = np.asarray(given)
    if labels.shape[1:] != ((task.num_labels,) if task.is_multilabel else ()) or not labels.size:
        wanted = f"{task.num_labels} numbers" if task.is_multilabel else "one"
        raise ValueError(
            f"labels of split {split!r} are {labels.shape}; give {wanted} for each row, and at least one row"
        )
    if not np.isfinite(labels).all():
        raise ValueError(f"a label of split {split!r} is not finite")
    if task.is_regression:
        return labels.astype(np.float64)
    classes = labels.astype(np.int8 if task.is_multilabel else np.int32)
    largest = 1 if task.is_multilabel else task.num_labels - 1
    if (classes != labels).any() or classes.min() < 0 or classes.max() > largest:
        raise ValueError(f"labels of split {split!r} are not all whole numbers from 0 to {largest}")
    return classes


def _stacked(split: str, models: Sequence[Predictions], num_rows: int) -> np.ndarray:  # (M, N) or (M, N, C)
    if not models:
        raise ValueError("there is no model to score")
    for model in models:
        if split not in model.by_split:
            raise ValueError(f"a model has no predictions of split {split!r}, only of {sorted(model.by_split)}")
        if len(model.by_split[split]) != num_rows:
            raise ValueError(f"a model has {len(model.by_split[split])} of the {num_rows} rows of split {split!r}")
    return np.stack([model.by_split[split] for model in models])


def _correlations(
    metric: str,
    labels: np.ndarray,  # (N,)
    predictions: np.ndarray,  # (M, N)
    weights: np.ndarray,  # (B, N)
) -> np.ndarray:  # (B, M)
    centred = _centred_ranks if metric == "spearman" else _centred_values
    by_label = centred(labels, weights)  # (B, N)
    label_squares = (weights * by_label**2).sum(axis=1)
    scores = np.empty((len(weights), len(predictions)))
    for index, values in enumerate(predictions):
        by_prediction = centred(values, weights)
        covariance = (weights * by_label * by_prediction).sum(axis=1)
        squares = (weights * by_prediction**2).sum(axis=1)
        scores[:, index] = correlation_ratio(covariance, squares * label_squares)
    return scores


def _centred_ranks(
    values: np.ndarray,  # (N,)
    weights: np.ndarray,  # (B, N)
) -> np.ndarray:  # (B, N)
    """Ranks among the drawn rows (ties get their mean rank), less their mean; one sort for all draws."""
    order = np.argsort(values, kind="stable")
    _, starts, group = np.unique(values[order], return_index=True, return_inverse=True)
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)  # (B, distinct values)
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    ranks -= (sizes.sum(axis=1, keepdims=True) + 1) / 2
    group_of_row = np.empty_like(order)
    group_of_row[order] = group
    of_row: np.ndarray = ranks[:, group_of_row]
    return of_row


def _centred_values(
    values: np.ndarray,  # (N,)
    weights: np.ndarray,  # (B, N)
) -> np.ndarray:  # (B, N)
    """Values less their mean over the drawn rows, scaled so that squares neither overflow nor underflow."""
    moved = values - values.mean()
    moved = moved / (np.abs(moved).max() or 1.0)
    centred: np.ndarray = moved - (weights @ moved / weights.sum(axis=1))[:, None]
    # Rounding gives a draw of equal values a small variance; make it exactly 0.
    first_drawn = values[np.argmax(weights > 0, axis=1)]
    differs = ((weights > 0) & (values != first_drawn[:, None])).any(axis=1)
    centred *= differs[:, None]
    return centred
