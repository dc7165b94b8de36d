"""Seeded draws of rows: samples, and the rows held out for early stopping and selection."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.data.rows import Rows

HeldOut = Literal["selection", "validation"]

# Make the draws of one seed independent.
_SAMPLE = 1
_DRAWS: dict[HeldOut, int] = {"selection": 2, "validation": 3}


def sample(rows: Rows, size: int | None, seed: int) -> Rows:
    """A seeded sample of ``size`` rows in their original order; all rows if there are no more, or ``size`` is None."""
    if size is None or size >= len(rows):
        return rows
    return rows.take(np.sort(np.random.default_rng((seed, _SAMPLE)).choice(len(rows), size, replace=False)))


def held_out_indices(rows: Rows, fraction: float, seed: int, is_regression: bool, use: HeldOut) -> NDArray[np.int64]:
    """Sorted positions (M,) of a seeded share of the rows, stratified by class.

    M is about ``fraction`` of the rows, at least one. A class of two or more rows has at least one row in each part;
    the only row of a class stays in train.
    """
    generator = np.random.default_rng((seed, _DRAWS[use]))
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
    """Rows of each class by largest remainders, then at least one and not all of them; none of a class of one row."""
    exact = counts * (size / counts.sum())
    quotas = np.floor(exact).astype(np.int64)
    missing = size - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    several = counts > 1
    return np.where(several, np.clip(quotas, 1, np.maximum(counts - 1, 1)), 0)
