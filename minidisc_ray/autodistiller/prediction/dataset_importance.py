"""What features of the dataset contribute to predictions: permutation importance of groups (Distiller, figure 4)."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupShuffleSplit

from minidisc_ray.autodistiller.prediction.encoding import Encoding
from minidisc_ray.autodistiller.prediction.held_out import Measured, Ranker, measured_by, spearman
from minidisc_ray.autodistiller.tables.frame import OUTCOMES, configuration_keys, feature_columns

GROUPS: Final = ("context embedding", "task embedding", "baseline score", "teacher score", "number of examples")
_TEST_SHARE: Final = 0.2


def dataset_groups(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of each group of table 2; the first half of the embedding is of rows, the second of descriptions."""
    features = feature_columns(frame.columns)
    half = len(features) // 2
    columns = (features[:half], features[half:], ["baseline_score"], ["teacher_score"], ["num_examples"])
    return {name: group for name, group in zip(GROUPS, columns, strict=True) if group}


def permutation_importance(
    frame: pd.DataFrame, target: str = "ratio_to_teacher", num_splits: int = 20, seed: int = 0
) -> dict[str, Measured]:
    """The fall of R² on held-out rows when a group's values are shuffled among them, by group.

    As in the paper, rows and not datasets are held out: a fifth of them, no configuration on both sides. A forest
    learns from configurations and all five groups; its interval is over splits.
    """
    encoding = Encoding.of(frame)
    groups = dataset_groups(frame)
    configuration = np.concatenate([encoding.models(frame), encoding.components(frame)], axis=1)
    blocks = {name: frame[columns].fillna(0.0).to_numpy(np.float64) for name, columns in groups.items()}
    values = frame[target].to_numpy()
    generator = np.random.default_rng(seed)
    falls: dict[str, list[float]] = {name: [] for name in groups}
    splitter = GroupShuffleSplit(num_splits, test_size=_TEST_SHARE, random_state=seed)
    for train, test in splitter.split(configuration, groups=configuration_keys(frame)):
        forest = ExtraTreesRegressor(100, min_samples_leaf=2, max_features=0.5, random_state=seed, n_jobs=1)
        forest.fit(np.concatenate([configuration, *blocks.values()], axis=1)[train], values[train])
        whole = _fit_quality(forest, configuration, blocks, test, values)
        for name in groups:
            shuffled = blocks | {name: blocks[name].copy()}
            shuffled[name][test] = blocks[name][generator.permutation(test)]
            falls[name].append(whole - _fit_quality(forest, configuration, shuffled, test, values))
    return {name: measured_by(float(np.mean(found)), np.array(found)) for name, found in falls.items()}


def correlation_by_num_tasks(
    frame: pd.DataFrame,
    make: Callable[[], Ranker],
    numbers: Sequence[int] = (2, 4, 7),
    num_draws: int = 3,
    target: str = "ratio_to_teacher",
    seed: int = 0,
) -> dict[int, list[float]]:
    """Mean correlation on held-out tasks after training on some of the others (figure 3a), for each draw of them."""
    tasks = sorted(frame["task"].unique())
    found: dict[int, list[float]] = {}
    generator = np.random.default_rng(seed)
    for number in numbers:
        # Of all other tasks there is only one draw.
        for _ in range(num_draws if number < len(tasks) - 1 else 1):
            correlations = []
            for task in tasks:
                others = generator.permutation([one for one in tasks if one != task])[:number]
                rows = frame[frame["task"].isin([task, *others])]
                held_out = rows[rows["task"] == task]
                ranks = make().fit(rows[rows["task"] != task]).rank(held_out.drop(columns=list(OUTCOMES)))
                correlations.append(spearman(ranks, held_out[target].to_numpy()))
            found.setdefault(number, []).append(float(np.mean(correlations)))
    return found


def _fit_quality(
    forest: ExtraTreesRegressor,
    configuration: np.ndarray,
    blocks: dict[str, np.ndarray],
    test: np.ndarray,
    values: np.ndarray,
) -> float:
    predicted = forest.predict(np.concatenate([configuration, *blocks.values()], axis=1)[test])
    return float(r2_score(values[test], predicted))
