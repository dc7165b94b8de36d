"""Intervals over seeds and examples by a crossed, paired bootstrap.

Every replicate draws seeds with replacement and rows with replacement; all methods and seeds are scored on the same
drawn rows, and averaged over the same drawn seeds. Draws depend on the rows: every call draws equal rows in the same
way, so that estimates on them are paired, and other rows independently, as those of another task.

N rows, M models, S seeds, B replicates. A method is a mapping from seed to that run's predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Estimate, Resampling
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions, weighted_scores

# Elements of one chunk of weights (replicates times rows); keeps all temporaries below 200 MB.
_CHUNK_ELEMENTS = 2**21


@dataclass(frozen=True, eq=False)
class Scores:
    """The metric of each model on all rows and on each draw.

    Attributes:
        point: (M,) on all rows.
        replicates: (B, M) on each draw.
    """

    point: np.ndarray
    replicates: np.ndarray


def bootstrap(
    rows: LabelledRows, methods: Mapping[str, Mapping[int, Predictions]], resampling: Resampling = DEFAULT_RESAMPLING
) -> dict[str, Estimate]:
    """The mean metric of each method on the scored splits, by name; all have the same seeds and are paired.

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


def difference_estimate(
    rows: LabelledRows,
    ours: Mapping[int, Predictions],
    theirs: Mapping[int, Predictions],
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> Estimate:
    """The mean metric of ``ours`` less that of ``theirs`` on one task; rows and seeds are paired.

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
    """The mean over seeds with its replicates, each the mean over its drawn seeds."""
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
    """The metric of each model on all rows and on each draw: the mean over splits, which are drawn independently.

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
    """How often each replicate draws each seed; the same for all splits of a task, as their models are the same."""
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
                "give both the same ones"
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
    """How often each of ``size`` items is drawn in ``size`` draws; counting is faster than drawing binomials."""
    drawn = generator.integers(size, size=(num_draws, size))
    drawn += np.arange(num_draws)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=num_draws * size).reshape(num_draws, size)


def _generator(resampling: Resampling, fingerprint: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng((resampling.seed, fingerprint, purpose))
