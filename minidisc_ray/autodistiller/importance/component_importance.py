"""How much of the spread of a task's results each component explains, alone and in pairs (Distiller, section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from minidisc_ray.autodistiller.importance.components import component_levels, varying_components
from minidisc_ray.autodistiller.importance.fanova import Decomposition, Domain, decompose
from minidisc_ray.autodistiller.tables.frame import configuration_keys
from minidisc_ray.configs.base import UserError

Target = Literal["ratio_to_teacher", "score", "ratio"]
Weights = Literal["uniform", "observed"]
Key = tuple[str, ...]  # of one component or of two

# Below, a forest has nothing to split.
MIN_CONFIGURATIONS: Final = 10
_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Share:
    """A share of variance with an interval of bootstrap draws of configurations."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TaskImportance:
    """Shares of one task's components.

    Attributes:
        task: its name.
        num_observations: rows.
        num_configurations: rows less repetitions.
        fit: R² of the forest on rows left out of its trees: shares of a forest that predicts nothing say nothing.
        shares: by component, and by pair of components without what either has alone; each has ``value``, ``low`` and
            ``high``, shares of the variance.

    Example:
        >>> of_mrpc = importance("earlier.parquet").tasks[0]
        >>> of_mrpc.task, of_mrpc.num_configurations
        ('mrpc', 12)
    """

    task: str
    num_observations: int
    num_configurations: int
    fit: float
    shares: dict[Key, Share]


@dataclass(frozen=True)
class Importance:
    """Shares of every task, and their means.

    Attributes:
        target: the column whose spread is explained.
        weights: how often each choice counts.
        tasks: in the order of their names.
        means: over the tasks where a component, or both of a pair, vary.
        num_tasks: how many these are.
        left_out: tasks with too few configurations, or one result for all.
        num_draws: bootstrap draws behind each interval.

    Example:
        >>> found = importance("earlier.parquet")
        >>> share = found.means["prediction loss",]
        >>> share.low < share.value < share.high, found.num_tasks["prediction loss",]
        (True, 2)
    """

    target: Target
    weights: Weights
    tasks: tuple[TaskImportance, ...]
    means: dict[Key, Share]
    num_tasks: dict[Key, int]
    left_out: tuple[str, ...]
    num_draws: int


def component_importance(
    frame: pd.DataFrame,
    target: Target = "ratio_to_teacher",
    weights: Weights = "uniform",
    num_draws: int = 40,
    num_trees: int = 64,
    seed: int = 0,
) -> Importance:
    """Decompose the variance of each task's results among the components that vary there.

    A component's choices count equally often (``uniform``, as in the paper's fANOVA) or as often as they were observed,
    and independently of the other components.

    Args:
        frame: checked observations.
        target: the column to explain; rows without it are left out.
        weights: of a component's choices.
        num_draws: bootstrap draws over configurations, each with a forest of its own.
        num_trees: of the forest on all rows; those of draws have a quarter of them.
        seed: of forests and draws.

    Raises:
        UserError: if no task has enough configurations with different results and a component that varies.
    """
    known = frame[frame[target].notna()]
    tasks: list[TaskImportance] = []
    draws: dict[Key, list[np.ndarray]] = {}
    left_out: list[str] = []
    for place, (name, rows) in enumerate(known.groupby("task", sort=True)):
        is_usable = configuration_keys(rows).nunique() >= MIN_CONFIGURATIONS and rows[target].nunique() > 1
        if not is_usable or not varying_components(rows):
            left_out.append(str(name))
            continue
        found, of_task = _of_task(str(name), rows, target, weights, num_draws, num_trees, (seed, place))
        tasks.append(found)
        for key, values in of_task.items():
            draws.setdefault(key, []).append(values)
    if not tasks:
        raise UserError(
            f"importance: no task has {MIN_CONFIGURATIONS} configurations with different values of {target} and a "
            "component that varies; add observations with `minidisc observe`"
        )
    means = {}
    for key, columns in draws.items():
        with_key = [task.shares[key].value for task in tasks if key in task.shares]
        means[key] = _share(float(np.mean(with_key)), np.mean(columns, axis=0))
    return Importance(
        target,
        weights,
        tuple(tasks),
        means,
        {key: len(found) for key, found in draws.items()},
        tuple(left_out),
        num_draws,
    )


def importance_frame(importance: Importance) -> pd.DataFrame:
    """A row for each task and component or pair; the means are of the task ``mean``."""
    of_mean = TaskImportance("mean", 0, 0, float("nan"), importance.means)
    records = []
    for task in (*importance.tasks, of_mean):
        for key, share in task.shares.items():
            is_mean = task is of_mean
            records.append(
                {
                    "task": task.task,
                    "component": key[0],
                    "with_component": key[1] if len(key) > 1 else None,
                    "share": share.value,
                    "low": share.low,
                    "high": share.high,
                    "num_tasks": importance.num_tasks[key] if is_mean else 1,
                    "num_configurations": None if is_mean else task.num_configurations,
                    "forest_fit": None if is_mean else task.fit,
                }
            )
    return pd.DataFrame(records)


def _of_task(
    name: str,
    rows: pd.DataFrame,
    target: Target,
    weights: Weights,
    num_draws: int,
    num_trees: int,
    seed: tuple[int, int],
) -> tuple[TaskImportance, dict[Key, np.ndarray]]:
    components = varying_components(rows)
    levels = np.stack([component_levels(rows, component).to_numpy() for component in components], axis=1)
    values = rows[target].to_numpy()
    groups = configuration_keys(rows).to_numpy()
    domains = [_domain(levels[:, place], weights) for place in range(len(components))]
    generator = np.random.default_rng(seed)
    forest = _forest(num_trees, generator, oob_score=True).fit(levels, values)
    point = _shares(decompose(forest, domains), components)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    draws: dict[Key, list[float]] = {key: [] for key in point}
    for _ in range(num_draws):
        chosen = np.concatenate([members[one] for one in generator.integers(len(members), size=len(members))])
        one = _forest(max(4, num_trees // 4), generator).fit(levels[chosen], values[chosen])
        for key, value in _shares(decompose(one, domains), components).items():
            draws[key].append(value)
    arrays = {key: np.array(found) for key, found in draws.items()}
    shares = {key: _share(value, arrays[key]) for key, value in point.items()}
    return TaskImportance(name, len(rows), len(members), float(forest.oob_score_), shares), arrays


def _forest(num_trees: int, generator: np.random.Generator, oob_score: bool = False) -> RandomForestRegressor:
    # As in the paper on fANOVA: five sixths of the features at a split, leaves of a few rows.
    return RandomForestRegressor(
        num_trees,
        min_samples_leaf=3,
        max_features=5 / 6,
        oob_score=oob_score,
        random_state=int(generator.integers(2**31)),
        n_jobs=1,
    )


def _domain(levels: np.ndarray, weights: Weights) -> Domain:
    counts = np.bincount(levels)
    shares = counts / counts.sum() if weights == "observed" else np.full(len(counts), 1 / len(counts))
    return Domain(weights=tuple(shares.tolist()))


def _shares(found: Decomposition, components: Sequence[str]) -> dict[Key, float]:
    """Shares of the forest: the mean over its trees; 0 where no tree splits."""
    shares: dict[Key, float] = {(name,): _mean(found.mains[:, place]) for place, name in enumerate(components)}
    for (one, two), values in found.pairs.items():
        shares[components[one], components[two]] = _mean(values)
    return shares


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _share(value: float, draws: np.ndarray) -> Share:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Share(value, float(low), float(high))
