"""Effects of models and effects of components, each learned where it shows: between pairs of models, and within them.

N rows to learn from, M rows asked for. A pair is a student and a teacher on one task.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from minidisc_ray.autodistiller.prediction.process import SHARINGS, Process, fit_process

PAIR: Final = ("task", "student", "teacher")


@dataclass(frozen=True, eq=False)
class TwoLevels:
    """The expected normal score of a configuration within its task: level of its models, plus rank within their pair.

    Attributes:
        between: fitted on normal scores within the task; of it, the effects of models are the level.
        within: fitted on normal scores within the pair, by components alone; None if no pair has two configurations
            with different results, and ``between`` ranks them then.
        spreads: of each task, the standard deviation of normal scores within its pairs.
    """

    between: Process
    within: Process | None
    spreads: pd.Series

    def mean(self, frame: pd.DataFrame) -> np.ndarray:  # (M,)
        """The expected normal score of each row; a task that was not seen has the mean spread of the others."""
        if self.within is None:
            return self.between.mean(frame)
        spread = frame["task"].map(self.spreads).fillna(self.spreads.mean()).to_numpy(np.float64)
        mean: np.ndarray = self.between.mean_of_models(frame) + spread * self.within.mean(frame)
        return mean


def fit_two_levels(rows: pd.DataFrame, like: TwoLevels | None = None) -> TwoLevels:
    """Fit both levels.

    Args:
        rows: configurations with their normal scores within the task, ``normal``, and within the pair, ``within``, and
            the number of results that these are means of, ``repeats``.
        like: where time matters, a fit whose likeliest members alone are fitted again.
    """
    between = fit_process(
        rows,
        rows["normal"].to_numpy(),
        rows["repeats"].to_numpy(np.float64),
        SHARINGS if like is None else (like.between.likeliest,),
    )
    by_pair = rows.groupby(list(PAIR))["normal"]
    compared = rows[by_pair.transform("size") > 1]
    if not (compared["within"] != 0).any():
        return TwoLevels(between, None, pd.Series(dtype=np.float64))
    within = fit_process(
        compared.reset_index(drop=True),
        compared["within"].to_numpy(),
        compared["repeats"].to_numpy(np.float64),
        SHARINGS if like is None or like.within is None else (like.within.likeliest,),
        has_models=False,
    )
    deviations = (rows["normal"] - by_pair.transform("mean"))[compared.index]
    spreads = (deviations**2).groupby(compared["task"]).mean() ** 0.5
    return TwoLevels(between, within, spreads)
