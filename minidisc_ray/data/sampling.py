"""Seeded draws of rows: samples, and the rows held out for early stopping and selection.

N rows, C labels of a multi-label task.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.core.task import Output
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


def strata(rows: Rows, output: Output) -> NDArray[np.int64] | None:
    """What to stratify a draw by, (N,): a row's class, or the rarest of its labels, C without any; None for values."""
    labels: NDArray[Any] = rows.labels
    match output:
        case "value":
            return None
        case "class":
            groups: NDArray[np.int64] = labels
        case "labels":
            counts = np.where(labels > 0, labels.sum(axis=0), np.inf)  # (N, C)
            groups = np.where(labels.any(axis=1), counts.argmin(axis=1), labels.shape[1])
    return groups


def held_out_indices(
    groups: NDArray[np.int64] | None, count: int, fraction: float, seed: int, use: HeldOut
) -> NDArray[np.int64]:
    """Sorted positions (M,) of a seeded share of ``count`` rows, stratified by ``groups``, (N,), as of :func:`strata`.

    M is about ``fraction`` of the rows, at least one. A group of two or more rows has at least one row in each part;
    the only row of a group stays in train.
    """
    generator = np.random.default_rng((seed, _DRAWS[use]))
    size = max(1, round(count * fraction))
    if groups is None:
        return np.sort(generator.choice(count, size, replace=False))
    classes, counts = np.unique(groups, return_counts=True)
    taken = _apportion(counts, size)
    chosen = [
        generator.choice(np.flatnonzero(groups == label), quota, replace=False)
        for label, quota in zip(classes, taken, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def held_out_of_labels(
    labels: NDArray[Any],  # (N, C)
    fraction: float,
    seed: int,
    use: HeldOut,
) -> NDArray[np.int64]:
    """Sorted positions (M,) of a seeded share of rows, not stratified; every label keeps a row that is not taken.

    M is below the share where too many rows are the last ones of a label.
    """
    generator = np.random.default_rng((seed, _DRAWS[use]))
    size, left, chosen = max(1, round(len(labels) * fraction)), labels.sum(axis=0), list[int]()
    for row in generator.permutation(len(labels)).tolist():
        if len(chosen) < size and (left[labels[row] > 0] > 1).all():
            left = left - labels[row]
            chosen.append(row)
    return np.sort(np.asarray(chosen, dtype=np.int64))


def _apportion(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Rows of each class by largest remainders, then at least one and not all of them; none of a class of one row."""
    exact = counts * (size / counts.sum())
    quotas = np.floor(exact).astype(np.int64)
    missing = size - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    several = counts > 1
    return np.where(several, np.clip(quotas, 1, np.maximum(counts - 1, 1)), 0)
