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
    """

    scale: float
    shared: float
    own: float
    similar: float
    reach: float


# All add up to the same variance, so that the evidence compares how it is split and not how much there is.
_SPLITS: Final = ((1.5, 1.5, 0.0, 1.0), *((1.0, 1.0, 1.0, reach) for reach in (0.5, 1.0, 2.0)))
_LOCAL_SPLITS: Final = tuple((0.5, 0.5, 2.0, reach) for reach in (0.5, 1.0, 2.0))
SHARINGS: Final = tuple(
    Sharing(scale, *split) for scale, split in product((0.02, 0.05, 0.15), (*_SPLITS, *_LOCAL_SPLITS))
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

    @classmethod
    def of(cls, encoding: Encoding, first: pd.DataFrame, second: pd.DataFrame) -> "_Parts":
        log_first, log_second = _log_rows(first, second), _log_rows(second, second)
        return cls(
            encoding.models(first) @ encoding.models(second).T,
            encoding.components(first) @ encoding.components(second).T,
            (first["task"].to_numpy()[:, None] == second["task"].to_numpy()[None, :]).astype(np.float64),
            np.abs(log_first[:, None] - log_second[None, :]),
        )

    def kernel(self, sharing: Sharing) -> np.ndarray:
        across = sharing.shared + sharing.own * self.is_same + sharing.similar * np.exp(-self.distance / sharing.reach)
        kernel: np.ndarray = _MODELS * self.models * (1 + self.is_same) + sharing.scale * self.components * across
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
    """

    encoding: Encoding
    rows: pd.DataFrame
    members: tuple[Sharing, ...]
    weights: tuple[float, ...]
    coefficients: tuple[np.ndarray, ...]

    @property
    def likeliest(self) -> Sharing:
        """The member with the largest weight."""
        return self.members[int(np.argmax(self.weights))]

    def mean(self, frame: pd.DataFrame) -> np.ndarray:  # (M,)
        """The expected value of each row."""
        parts = _Parts.of(self.encoding, frame, self.rows)
        total = np.zeros(len(frame))
        for member, weight, coefficients in zip(self.members, self.weights, self.coefficients, strict=True):
            total += weight * (parts.kernel(member) @ coefficients)
        return total


def fit_process(
    rows: pd.DataFrame,
    values: np.ndarray,  # (N,)
    repeats: np.ndarray,  # (N,) how many results each value is the mean of
    members: tuple[Sharing, ...] = SHARINGS,
) -> Process:
    """Fit every member, and weigh them by the likelihood of the values, with the values' scale free."""
    encoding = Encoding.of(rows)
    parts = _Parts.of(encoding, rows, rows)
    evidence, coefficients = [], []
    for member in members:
        system = parts.kernel(member)
        # A configuration that was repeated is known better.
        system[np.diag_indices(len(rows))] += _NOISE / repeats
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
    )


def _log_rows(frame: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Logarithm of the number of training rows; the median of the table's where it is missing."""
    typical = known["num_examples"].median()
    filled = frame["num_examples"].fillna(typical if np.isfinite(typical) else 1.0)
    logarithms: np.ndarray = np.log(filled.clip(lower=1.0).to_numpy(np.float64))
    return logarithms
