"""Intervals over seeds and examples by a crossed, paired bootstrap.

Every replicate draws seeds with replacement and rows with replacement; all methods and seeds are scored on the same
drawn rows, and averaged over the same drawn seeds. The same rows are drawn alike in every call, other rows
independently, so that estimates on the same rows stay paired and those of several tasks are independent.

N rows, M models, S seeds, B replicates. A method is a mapping from seed to that run's predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Estimate, Interval, Resampling
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions, weighted_scores

# Entries of one draw of weights (replicates times rows): the temporaries together stay below 200 MB.
_CHUNK_ELEMENTS = 2**21


@dataclass(frozen=True, eq=False)
class Scores:
    """Models' metrics on the rows and on each draw of them.

    Attributes:
        point: (M,).
        replicates: (B, M).
    """

    point: np.ndarray
    replicates: np.ndarray


def bootstrap(
    rows: LabelledRows, methods: Mapping[str, Mapping[int, Predictions]], resampling: Resampling = DEFAULT_RESAMPLING
) -> dict[str, Estimate]:
    """Each method's mean metric on the scored splits, by its name; all have the same seeds and are paired.

    Raises:
        ValueError: if there is no method or seed, seeds differ, or a model has no predictions of a scored split.
    """
    seeds = common_seeds(methods)
    models = [of_seed[seed] for of_seed in methods.values() for seed in seeds]
    scores = score_draws(rows, rows.scored_splits, models, resampling)
    found = {}
    for index, name in enumerate(methods):
        own = slice(index * len(seeds), (index + 1) * len(seeds))
        found[name] = estimate(rows, seeds, scores.point[own], scores.replicates[:, own], resampling)
    return found


def difference(
    rows: LabelledRows,
    ours: Mapping[int, Predictions],
    theirs: Mapping[int, Predictions],
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Interval:
    """Our mean metric less theirs on one task, with its paired interval; seeds are paired too.

    For the average over tasks, give ``average`` each task's ``difference_estimate``.

    Raises:
        ValueError: as ``bootstrap``.
    """
    return difference_estimate(rows, ours, theirs, resampling).interval()


def difference_estimate(
    rows: LabelledRows,
    ours: Mapping[int, Predictions],
    theirs: Mapping[int, Predictions],
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """The same as ``difference``, with its replicates.

    Raises:
        ValueError: as ``bootstrap``.
    """
    found = bootstrap(rows, {"ours": ours, "theirs": theirs}, resampling)
    return found["ours"] - found["theirs"]


def estimate(
    rows: LabelledRows,
    seeds: Sequence[int],  # S, sorted
    point: np.ndarray,  # (S,) each seed's value
    replicates: np.ndarray,  # (B, S) the same on each draw of rows
    resampling: Resampling,
) -> Estimate:
    """Average over the seeds, and over the drawn seeds in each replicate."""
    counts = seed_counts(rows, len(seeds), resampling)
    return Estimate(
        float(point.mean()),
        (replicates * counts).sum(axis=1) / len(seeds),
        len(seeds),
        rows.num_rows(rows.scored_splits),
        1,
        resampling,
        ((rows.fingerprint(rows.scored_splits), *seeds),),
    )


def score_draws(
    rows: LabelledRows,
    splits: Sequence[str],
    models: Sequence[Predictions],
    resampling: Resampling,
    selects: bool = False,
) -> Scores:
    """The metric of each model on all rows and on each draw, the mean over the splits, which are drawn independently.

    Raises:
        ValueError: as ``weighted_scores``.
    """
    points, replicates = [], []
    for split in splits:
        points.append(weighted_scores(rows, split, models, np.ones((1, rows.num_rows([split]))), selects)[0])
        weights = _row_weights(rows, split, resampling)
        chunks = [weighted_scores(rows, split, models, drawn, selects) for drawn in weights]
        replicates.append(np.concatenate(chunks))
    return Scores(np.mean(points, axis=0), np.mean(replicates, axis=0))


def seed_counts(rows: LabelledRows, num_seeds: int, resampling: Resampling) -> np.ndarray:  # (B, S)
    """How often each replicate drew each seed: alike for all sets of rows of one task, whose models are the same."""
    generator = _generator(resampling, rows.fingerprint([]), 0)
    return _draw_counts(generator, resampling.num_replicates, num_seeds)


def common_seeds(methods: Mapping[str, Mapping[int, object]]) -> tuple[int, ...]:
    """The seeds of all methods, sorted.

    Raises:
        ValueError: if there is no method or seed, or seeds differ.
    """
    if not methods:
        raise ValueError("there is no method to score")
    first, *others = methods
    if not methods[first]:
        raise ValueError(f"{first} has no seed")
    for other in others:
        if set(methods[other]) != set(methods[first]):
            raise ValueError(
                f"{first} has seeds {sorted(methods[first])}, but {other} has {sorted(methods[other])}; "
                "give both the same"
            )
    return tuple(sorted(methods[first]))


def _row_weights(rows: LabelledRows, split: str, resampling: Resampling) -> Iterator[np.ndarray]:  # (b, N) each
    num_rows, left = rows.num_rows([split]), resampling.num_replicates
    generator = _generator(resampling, rows.fingerprint([split]), 1)
    while left:
        chunk = min(left, max(1, _CHUNK_ELEMENTS // num_rows))
        yield _draw_counts(generator, chunk, num_rows)
        left -= chunk


def _draw_counts(generator: np.random.Generator, num_draws: int, size: int) -> np.ndarray:  # (num_draws, size)
    """Multinomial counts of ``size`` draws among as many, by counting the draws, which is faster than binomials."""
    drawn = generator.integers(size, size=(num_draws, size))
    drawn += np.arange(num_draws)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=num_draws * size).reshape(num_draws, size)


def _generator(resampling: Resampling, fingerprint: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng((resampling.seed, fingerprint, purpose))
