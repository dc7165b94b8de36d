"""Simulated models of known quality, for the statistics of many runs."""

import numpy as np

from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import (
    Interval,
    LabelledRows,
    Predictions,
    Resampling,
    Sweep,
    SweepTrial,
    difference_estimate,
)


def task_of(metric: str, classes: int = 2, name: str = "simulated", is_multilabel: bool = False) -> Task:
    """A task with one metric; no classes make it a regression."""
    return Task(name, ("text",), "label", tuple("abcdefgh"[:classes]), (metric,), is_multilabel=is_multilabel)


def labelled(num_rows: int, metric: str = "accuracy", name: str = "simulated", **splits: int) -> LabelledRows:
    """Rows of two classes, drawn by name and split."""
    labels = {
        split: np.random.default_rng([num_rows, len(split)]).integers(2, size=size)
        for split, size in {"validation": num_rows, **splits}.items()
    }
    return LabelledRows(task_of(metric, name=name), labels)


def difference(
    rows: LabelledRows, ours: dict[int, Predictions], theirs: dict[int, Predictions], resampling: Resampling
) -> Interval:
    """The interval of the paired difference of two methods."""
    return difference_estimate(rows, ours, theirs, resampling).interval()


def model(rows: LabelledRows, seed: int, **right: float) -> Predictions:
    """A model that is right at each row with the given chance, split by split."""
    generator = np.random.default_rng(seed)
    logits = {}
    for split, share in right.items():
        labels = rows.labels[split]
        given = np.where(generator.random(len(labels)) < share, labels, 1 - labels)
        logits[split] = np.eye(2)[given]
    return rows.predictions(logits)


def sweep(rows: LabelledRows, seed: int, quality: dict[int, tuple[float, float]], **others: Predictions) -> Sweep:
    """A sweep whose assistants and students are right with the given chances, by scale."""
    trials = {
        scale: SweepTrial(
            model(rows, 1000 * seed + scale, selection=assistant),
            model(rows, 1000 * seed + scale + 500, selection=student, validation=student),
        )
        for scale, (assistant, student) in quality.items()
    }
    return Sweep(trials, **others)
