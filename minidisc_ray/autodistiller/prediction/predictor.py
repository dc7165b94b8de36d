"""Predicts how well a distillation will do on a task, from those of other tasks (Distiller, section 3.1)."""

from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from minidisc_ray.autodistiller.prediction.two_levels import PAIR, fit_two_levels
from minidisc_ray.autodistiller.tables.frame import COMPONENTS, configuration_keys
from minidisc_ray.configs.base import UserError

# Fewer configurations of a task say nothing of its spread.
MIN_TASK_CONFIGURATIONS: Final = 5
# The largest system of equations that is solved: some seconds, and 300 MB.
MAX_CONFIGURATIONS: Final = 2_500
_MAX_FOLDS: Final = 10


class Predictor:
    """Gaussian processes on results, ranked within each task.

    The result of a configuration is a sum of effects of its models and of its components. An effect has a part that
    all tasks share and a part of each task's own; those of components also have a part that tasks share the more, the
    closer their numbers of training rows are, and share less between a classification and a regression. How much each
    part counts is averaged over, by marginal likelihood, so that nothing is chosen by looking at a task that is left
    out. Results are normal scores of their rank, so that a task with a wide spread does not count more than others:
    effects of models are learned from ranks within the task, those of components from ranks within one student and
    teacher, where differences between models hide nothing.

    Intervals are quantiles of the errors on training tasks that were left out in turn, each task counting the same.

    Args:
        target: the column that is predicted.
        level: share of results that an interval is meant to hold.
        seed: of the sample of a table with more than ``MAX_CONFIGURATIONS`` configurations.
    """

    def __init__(self, target: str = "ratio_to_teacher", level: float = 0.9, seed: int = 0) -> None:
        self.target = target
        self.level = level
        self.seed = seed
        self.notes: list[str] = []

    def fit(self, frame: pd.DataFrame) -> "Predictor":
        """Learn from checked observations.

        Raises:
            UserError: if fewer than two tasks have enough configurations with different results.
        """
        rows = self._training_rows(frame)
        self._rows = rows
        self._levels = fit_two_levels(rows)
        by_task = rows.groupby("task", sort=True)["value"]
        self._centres = pd.DataFrame({"median": by_task.median(), "spread": by_task.agg(_spread)})
        self._errors: pd.DataFrame | None = None
        return self

    def rank(self, frame: pd.DataFrame) -> np.ndarray:
        """The expected normal score of each row's configuration within its task."""
        return self._levels.mean(frame)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Mean, standard deviation, and lower and upper end of the interval of each row's result.

        A task that the table lacks gets the median level and spread of the others, and its interval is as wide as
        levels differ between tasks. A task of the table has its own level, spread and errors.

        Args:
            frame: configurations and their tasks, in the table's columns; outcomes are not needed.
        """
        means = self._means(self.rank(frame), frame["task"], self._centres)
        if self._errors is None:
            self._errors = self._left_out_errors(self._rows)
        bounds = np.empty((len(frame), 3))
        for task in frame["task"].unique():
            own = self._errors[self._errors["task"] == task]
            errors = self._errors["error"] if own.empty else own["with_level"]
            weights = self._errors["weight"] if own.empty else own["weight"]
            bounds[frame["task"].to_numpy() == task] = _bounds(errors.to_numpy(), weights.to_numpy(), self.level)
        columns = {"mean": means, "deviation": bounds[:, 0], "low": means + bounds[:, 1], "high": means + bounds[:, 2]}
        return pd.DataFrame(columns, index=frame.index)

    def _training_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row for each configuration, with the means of its results and of their normal scores, and their number."""
        # Without dataset features, which would be most of the memory of a large table.
        known = frame.loc[frame[self.target].notna(), ["task", *COMPONENTS, "num_examples", "num_labels", self.target]]
        if known["task"].nunique() < 2:
            raise UserError(
                f"the table has {self.target} for {known['task'].nunique()} task(s); a prediction for a new task needs "
                "two or more: add another table, or runs of another task"
            )
        keys = configuration_keys(known)
        scored = known.assign(
            key=keys,
            value=known[self.target],
            normal=known.groupby("task")[self.target].transform(_normal_scores),
            within=known.groupby(list(PAIR))[self.target].transform(_normal_scores),
        )
        rows = scored.drop_duplicates("key").set_index("key")
        grouped = scored.groupby("key")
        rows = rows.assign(
            **{name: grouped[name].mean() for name in ("value", "normal", "within")}, repeats=grouped.size()
        ).reset_index(drop=True)
        usable = rows.groupby("task")["value"].transform(
            lambda values: len(values) >= MIN_TASK_CONFIGURATIONS and values.nunique() > 1
        )
        left_out = sorted(rows.loc[~usable.astype(bool), "task"].unique())
        rows = rows[usable.astype(bool)].reset_index(drop=True)
        if rows["task"].nunique() < 2:
            raise UserError(
                f"fewer than two tasks have {MIN_TASK_CONFIGURATIONS} configurations with different values of "
                f"{self.target} (too few, or one value: {', '.join(left_out)}); add observations"
            )
        if left_out:
            self.notes.append(f"too few configurations, or one result for all, left out: {', '.join(left_out)}")
        if len(rows) > MAX_CONFIGURATIONS:
            self.notes.append(f"a random sample of {MAX_CONFIGURATIONS:,} of {len(rows):,} configurations was used")
            rows = _sampled(rows, self.seed)
        return rows

    def _left_out_errors(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Errors on tasks left out in turn, the same with the task's own level and spread, and equal task weights."""
        tasks = sorted(rows["task"].unique())
        folds = []
        for fold in range(min(_MAX_FOLDS, len(tasks))):
            is_out = rows["task"].isin(tasks[fold::_MAX_FOLDS])
            train, held_out = rows[~is_out].reset_index(drop=True), rows[is_out]
            names, values = held_out["task"], held_out["value"].to_numpy()
            # One member, since all of them would take ten times as long as the fit.
            ranks = fit_two_levels(train, like=self._levels).mean(held_out)
            means = self._means(ranks, names, self._centres.drop(index=names.unique().tolist()))
            errors = {
                "task": names,
                "error": values - means,
                "with_level": values - self._means(ranks, names, self._centres),
                "weight": 1 / names.groupby(names).transform("size").to_numpy(),
            }
            folds.append(pd.DataFrame(errors))
        return pd.concat(folds, ignore_index=True)

    @staticmethod
    def _means(ranks: np.ndarray, tasks: pd.Series, centres: pd.DataFrame) -> np.ndarray:
        own = centres.reindex(tasks)
        typical = centres.median()
        level, spread = own["median"].fillna(typical["median"]), own["spread"].fillna(typical["spread"])
        means: np.ndarray = level.to_numpy() + spread.to_numpy() * ranks
        return means


def _normal_scores(values: pd.Series) -> np.ndarray:
    scores: np.ndarray = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def _spread(values: pd.Series) -> float:
    """The standard deviation of a normal distribution with the same quartiles, which a failed run does not widen."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) / (2 * float(norm.ppf(0.75)))


def _sampled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """At most ``MAX_CONFIGURATIONS``, from each task the same number where it has as many."""
    shuffled = rows.sample(frac=1.0, random_state=seed)
    place = shuffled.groupby("task").cumcount()
    chosen = place.sort_values(kind="stable").index[:MAX_CONFIGURATIONS]
    return rows.loc[sorted(chosen)].reset_index(drop=True)


def _bounds(errors: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:  # (3,)
    """Root mean square, and the quantiles at both tails."""
    order = np.argsort(errors)
    reached = np.cumsum(weights[order]) / weights.sum()
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = errors[order][np.searchsorted(reached, tails).clip(max=len(errors) - 1)]
    return np.array([np.sqrt(np.average(errors**2, weights=weights)), low, high])
