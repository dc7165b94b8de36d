"""A Gaussian process over configurations and tasks, averaged over how much tasks share.

N rows to learn from, M rows asked for; each row is one configuration on one task.
"""

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

from minidisc_ray.autodistiller.prediction.encoding import Encoding


@dataclass(frozen=True)
class Sharing:
    """Variances of the effects of components; those of all models, and of noise, are fixed.

    Attributes:
        scale: of all three below.
        shared: of the part that all tasks have.
        own: of the part that each task has for itself.
        similar: of the part that tasks share the more, the closer their numbers of training rows are.
        reach: the difference in the logarithm of training rows at which tasks share 1/e of that part.
        across_kinds: how much of what tasks share a regression shares with a classification, in [0, 1]. Their losses
            are not the same ones: over a single output, cross-entropy is constant.
    """

    scale: float
    shared: float
    own: float
    similar: float
    reach: float
    across_kinds: float


# All add up to the same variance, so that the evidence compares how it is split and not how much there is.
_SPLITS: Final = (
    (1.5, 1.5, 0.0, 1.0),
    (1.0, 1.0, 1.0, 1.0),
    *((0.5, 0.5, 2.0, reach) for reach in (0.5, 1.0, 2.0)),
)
SHARINGS: Final = tuple(
    Sharing(scale, *split, across_kinds)
    for scale, split, across_kinds in product((0.02, 0.05), _SPLITS, (0.0, 0.5, 1.0))
)
_MODELS: Final = 0.7
_NOISE: Final = 0.35
# Members with less weight change nothing.
_SMALLEST_WEIGHT: Final = 1e-3


@dataclass(frozen=True, eq=False)
class _Parts:
    """The parts of a kernel, (M, N) each."""

    models: np.ndarray
    components: np.ndarray
    is_same: np.ndarray
    distance: np.ndarray
    is_same_kind: np.ndarray

    @classmethod
    def of(cls, encoding: Encoding, first: pd.DataFrame, second: pd.DataFrame) -> "_Parts":
        log_first, log_second = _log_rows(first, second), _log_rows(second, second)
        return cls(
            encoding.models(first) @ encoding.models(second).T,
            encoding.components(first) @ encoding.components(second).T,
            (first["task"].to_numpy()[:, None] == second["task"].to_numpy()[None, :]).astype(np.float64),
            np.abs(log_first[:, None] - log_second[None, :]),
            _kinds(first) @ _kinds(second).T,
        )

    def of_models(self) -> np.ndarray:
        kernel: np.ndarray = _MODELS * self.models * (1 + self.is_same)
        return kernel

    def of_components(self, sharing: Sharing) -> np.ndarray:
        across = sharing.shared + sharing.similar * np.exp(-self.distance / sharing.reach)
        across *= sharing.across_kinds + (1 - sharing.across_kinds) * self.is_same_kind
        kernel: np.ndarray = sharing.scale * self.components * (across + sharing.own * self.is_same)
        return kernel


@dataclass(frozen=True, eq=False)
class Process:
    """Fitted members, each with its weight.

    Attributes:
        encoding: of configurations.
        rows: that it was fitted on.
        members: ways to share.
        weights: of members, by their marginal likelihood on the rows; they add up to 1.
        coefficients: (N,) of each member.
        has_models: whether models have effects, or components alone.
    """

    encoding: Encoding
    rows: pd.DataFrame
    members: tuple[Sharing, ...]
    weights: tuple[float, ...]
    coefficients: tuple[np.ndarray, ...]
    has_models: bool = True

    @property
    def likeliest(self) -> Sharing:
        """The member with the largest weight."""
        return self.members[int(np.argmax(self.weights))]

    def mean(self, frame: pd.DataFrame) -> np.ndarray:  # (M,)
        """The expected value of each row."""
        parts = _Parts.of(self.encoding, frame, self.rows)
        total = self._of_models(parts) if self.has_models else np.zeros(len(frame))
        for member, weight, coefficients in zip(self.members, self.weights, self.coefficients, strict=True):
            total += weight * (parts.of_components(member) @ coefficients)
        return total

    def mean_of_models(self, frame: pd.DataFrame) -> np.ndarray:  # (M,)
        """The part of each row's expected value that is of its models."""
        return self._of_models(_Parts.of(self.encoding, frame, self.rows))

    def _of_models(self, parts: _Parts) -> np.ndarray:
        effects: np.ndarray = parts.of_models() @ (np.array(self.weights) @ np.array(self.coefficients))
        return effects


def fit_process(
    rows: pd.DataFrame,
    values: np.ndarray,  # (N,)
    repeats: np.ndarray,  # (N,) how many results each value is the mean of
    members: tuple[Sharing, ...] = SHARINGS,
    has_models: bool = True,  # whether models have effects; not where values are ranks within a pair of models
) -> Process:
    """Fit every member, and weigh them by the likelihood of the values, with the values' scale free."""
    encoding = Encoding.of(rows)
    parts = _Parts.of(encoding, rows, rows)
    # A configuration that was repeated is known better.
    fixed = np.diag(_NOISE / repeats) + (parts.of_models() if has_models else 0.0)
    evidence, coefficients = [], []
    for member in members:
        system = parts.of_components(member) + fixed
        factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        solved = cho_solve(factor, values, check_finite=False)
        coefficients.append(solved)
        evidence.append(-len(rows) / 2 * np.log(values @ solved) - np.log(np.diag(factor[0])).sum())
    relative = np.exp(np.array(evidence) - max(evidence))
    weights = relative / relative.sum()
    kept = np.flatnonzero(weights >= _SMALLEST_WEIGHT)
    weights = weights[kept] / weights[kept].sum()
    return Process(
        encoding,
        rows,
        tuple(members[place] for place in kept),
        tuple(weights.tolist()),
        tuple(coefficients[place] for place in kept),
        has_models,
    )


def _kinds(frame: pd.DataFrame) -> np.ndarray:  # (M, 2)
    """Regression or classification; half of each where the number of outputs is not known."""
    is_regression = np.where(frame["num_labels"].isna(), 0.5, frame["num_labels"] == 1)
    return np.column_stack([is_regression, 1 - is_regression])


def _log_rows(frame: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Logarithm of the number of training rows; the median of the table's where it is missing."""
    typical = known["num_examples"].median()
    filled = frame["num_examples"].fillna(typical if np.isfinite(typical) else 1.0)
    logarithms: np.ndarray = np.log(filled.clip(lower=1.0).to_numpy(np.float64))
    return logarithms
