"""What is behind a score: which classes a model confuses, or how large the errors of a regression are.

N rows, C outputs (1 for regression).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    confusion_matrix,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
)

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class ClassScore:
    """One class; precision, recall and F1 are 0 where they would divide by 0.

    Attributes:
        support: rows that have this label.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ConfusedPair:
    """Rows of one class that were predicted as another.

    Attributes:
        share: of the rows that have this label.
    """

    label: str
    prediction: str
    rows: int
    share: float


@dataclass(frozen=True, eq=False)
class ClassDetails:
    """A classification in detail.

    Attributes:
        num_rows: that the model was scored on.
        scores: one for each class, in the order of the model's outputs.
        confusion: (C, C) rows by label, then by prediction; None of a multi-label task, whose labels exclude no other.
    """

    num_rows: int
    scores: tuple[ClassScore, ...]
    confusion: np.ndarray | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(score.name for score in self.scores)

    def shares(self) -> np.ndarray:  # (C, C)
        """The confusion as shares of each label's rows; 0 for a label without rows."""
        assert self.confusion is not None
        rows: np.ndarray = np.maximum(self.confusion.sum(axis=1, keepdims=True), 1)
        shares: np.ndarray = self.confusion / rows
        return shares

    def confused_pairs(self) -> list[ConfusedPair]:
        """All pairs of classes that were confused, those with the most rows first."""
        assert self.confusion is not None
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        labels, predictions = np.nonzero(wrong)
        order = np.argsort(-wrong[labels, predictions], kind="stable")
        names, shares = self.names, self.shares()
        return [
            ConfusedPair(
                names[label], names[prediction], int(wrong[label, prediction]), float(shares[label, prediction])
            )
            for label, prediction in zip(labels[order], predictions[order], strict=True)
        ]


@dataclass(frozen=True)
class ErrorDetails:
    """The errors of a regression; a residual is the prediction minus the label.

    Attributes:
        residual_quantiles: by level, from ``QUANTILES``.
    """

    num_rows: int
    mean_squared_error: float
    mean_absolute_error: float
    residual_quantiles: Mapping[float, float]


Details = ClassDetails | ErrorDetails


class Evaluation(dict[str, float]):
    """A model's metrics by name, as a dict, and the details behind them.

    Attributes:
        details: by the name of the set of rows, the primary one first.
        notes: on how the rows were read, a sentence each.
    """

    def __init__(self, metrics: Mapping[str, float], details: Mapping[str, Details], notes: Sequence[str] = ()) -> None:
        super().__init__(metrics)
        self.details = dict(details)
        self.notes = tuple(notes)


def details_of(
    label_names: Sequence[str],  # in the order of the outputs; empty for a regression
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,) class indices or values, or (N, C) of 0 and 1
) -> Details:
    """The details of a model's predictions; labels of two dimensions are those of a multi-label task.

    Raises:
        ValueError: if there are no rows, the shapes do not fit, or a logit is not finite.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    fits = labels.shape in (logits.shape[:1], logits.shape)
    if not len(labels) or logits.shape != (len(labels), len(label_names) or 1) or not fits:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not fit {len(label_names)} classes")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not finite")
    return _class_details(label_names, logits, labels) if label_names else _error_details(logits, labels)


def _class_details(label_names: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> ClassDetails:
    indices, is_multilabel = range(len(label_names)), labels.ndim == 2
    predictions = (logits > 0) if is_multilabel else logits.argmax(axis=1)
    columns = precision_recall_fscore_support(labels, predictions, labels=indices, zero_division=0)
    scores = (
        ClassScore(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(label_names, *columns, strict=True)
    )
    confusion = None if is_multilabel else confusion_matrix(labels, predictions, labels=indices)
    return ClassDetails(len(labels), tuple(scores), confusion)


def _error_details(logits: np.ndarray, labels: np.ndarray) -> ErrorDetails:
    predictions, values = logits[:, 0].astype(np.float64), labels.astype(np.float64)
    quantiles = np.quantile(predictions - values, QUANTILES)
    return ErrorDetails(
        num_rows=len(values),
        mean_squared_error=float(mean_squared_error(values, predictions)),
        mean_absolute_error=float(mean_absolute_error(values, predictions)),
        residual_quantiles=dict(zip(QUANTILES, map(float, quantiles), strict=True)),
    )
