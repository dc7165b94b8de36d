"""Observations of finished runs, which AutoDistiller learns from, and features of data sets."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.autodistiller.features.dataset_features import DatasetFeatures
from minidisc_ray.autodistiller.features.dataset_features import dataset_features as _features_of
from minidisc_ray.autodistiller.tables.observe import Observed, observe_public, observe_runs
from minidisc_ray.autodistiller.tables.table import read_frame

__all__ = ["DatasetFeatures", "Observed", "dataset_features", "observe", "observe_public", "read_observations"]


def observe(
    storage: str | Path,
    to: str | Path,
    features: bool = False,
    vectors: str | Path | None = None,
    report: Callable[[str], object] = lambda _: None,
) -> Observed:
    """Add every finished run of a storage to a table of observations, each once; AutoDistiller learns from the table.

    Args:
        storage: the folder or URI of a storage, or of one run.
        to: the table's folder or URI; it is created if it is not there.
        features: also compute dataset features and a baseline's score, where a run's rows can be read.
        vectors: a file in GloVe's text format for the features; by default the teacher's own embeddings.
        report: called with the name of a task before its features are computed.

    Raises:
        UserError: if the storage or the table cannot be read, or the table cannot be written.

    Example:
        >>> observed = observe("runs", to="observations")
        >>> "first" in observed.added, observed.num_tasks
        (True, 1)
    """
    return observe_runs(storage, to, features, vectors, report)


def read_observations(table: str | Path, space: str | None = None) -> pd.DataFrame:
    """Read a table of observations: one distillation a row, its configuration, its task and what came out.

    Args:
        table: its folder or URI.
        space: of the dataset features; by default the one that most tasks have.

    Raises:
        UserError: if there are no observations, a file is damaged, or a newer release wrote it.

    Example:
        >>> frame = read_observations("observations")
        >>> set(frame["task"]), "ratio" in frame
        ({'builtin'}, True)
    """
    return read_frame(table, space)


def dataset_features(
    recipe: Recipe,
    overrides: Sequence[str] = (),
    vectors: str | Path | None = None,
    baseline: bool = True,
) -> DatasetFeatures:
    """Features of a recipe's data set: embeddings of its texts and of its description, its size, a baseline's score.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.
        vectors: a file in GloVe's text format; by default the teacher's own embeddings.
        baseline: whether to train a light Bi-LSTM for its score: seconds, up to two minutes for long texts.

    Raises:
        UserError: if rows, teacher or vectors cannot be read, or no text has a word.

    Example:
        >>> found = dataset_features(recipe, baseline=False)
        >>> found.num_examples, found.num_labels, len(found.values)
        (360, 2, 192)
    """
    return _features_of(config_of(recipe, overrides), vectors, baseline)
