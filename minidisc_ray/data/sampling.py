"""Seeded choices among rows: samples, and the rows held out for early stopping and choices."""

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.data.rows import Rows

_SAMPLE, _SELECTION = 1, 2  # keep the two draws of one seed apart


def sample(rows: Rows, size: int | None, seed: int) -> Rows:
    """A seeded sample of at most ``size`` rows, in their own order; all rows if there are no more."""
    if size is None or size >= len(rows):
        return rows
    return rows.take(np.sort(np.random.default_rng((seed, _SAMPLE)).choice(len(rows), size, replace=False)))


def selection_indices(rows: Rows, fraction: float, seed: int, is_regression: bool) -> NDArray[np.int64]:
    """Sorted positions (M,) of a seeded share of the rows; every class in the same share, as far as rows go.

    M is ``fraction`` of the rows, rounded, and at least one. Each class with two or more rows is on both sides; a
    single row of a class stays in train.
    """
    generator = np.random.default_rng((seed, _SELECTION))
    size = max(1, round(len(rows) * fraction))
    if is_regression:
        return np.sort(generator.choice(len(rows), size, replace=False))
    classes, counts = np.unique(rows.labels, return_counts=True)
    taken = _apportion(counts, size)
    chosen = [
        generator.choice(np.flatnonzero(rows.labels == label), quota, replace=False)
        for label, quota in zip(classes, taken, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _apportion(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Largest remainders: quotas that sum to ``size`` and are each less than one from their exact share."""
    exact = counts * (size / counts.sum())
    quotas = np.floor(exact).astype(np.int64)
    missing = size - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    several = counts > 1
    return np.where(several, np.clip(quotas, 1, np.maximum(counts - 1, 1)), 0)
