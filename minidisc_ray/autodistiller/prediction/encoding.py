"""Configurations as numbers: indicators of choices, and numeric ones centred and scaled.

N rows, D columns of an encoding.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from minidisc_ray.autodistiller.tables.frame import FLAG_COMPONENTS, NUMERIC_COMPONENTS

MODELS: Final = ("student", "teacher")
_TEXTS: Final = (
    "intermediate_loss",
    "intermediate_strategy",
    "prediction_loss",
    "augmentation",
    "schedule",
    "objective",
)
# The steps of a stacked augmentation, by which a new stack is compared with those that share its steps.
_STEPS: Final = ("contextual", "backtranslation", "random")
# Numbers that are powers of something rather than sums.
_LOGARITHMIC: Final = ("learning_rate", "batch_size", "num_epochs")


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become numbers; fitted on training rows.

    Attributes:
        choices: the known values of each text column; an unknown one has no indicator.
        centres: of each numeric column, mean and standard deviation over the rows that have it.
    """

    choices: dict[str, tuple[str, ...]]
    centres: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Encoding":
        """Learn choices and centres."""
        columns = (*MODELS, *_TEXTS, *FLAG_COMPONENTS)
        choices = {column: tuple(sorted(frame[column].dropna().astype(str).unique())) for column in columns}
        centres = {}
        for column in NUMERIC_COMPONENTS:
            values = _numbers(frame, column)
            known = values[np.isfinite(values)]
            deviation = float(known.std()) if len(known) else 0.0
            if deviation > 0:
                centres[column] = (float(known.mean()), deviation)
        return cls(choices, centres)

    def models(self, frame: pd.DataFrame) -> np.ndarray:  # (N, D)
        """Indicators of student and teacher."""
        return np.concatenate([self._indicators(frame, column) for column in MODELS], axis=1)

    def components(self, frame: pd.DataFrame) -> np.ndarray:  # (N, D)
        """Indicators and numbers of everything else."""
        parts = [self._indicators(frame, column) for column in (*_TEXTS, *FLAG_COMPONENTS)]
        steps = frame["augmentation"].fillna("")
        parts += [0.5 * steps.str.contains(step).to_numpy(np.float64)[:, None] for step in _STEPS]
        for column, (mean, deviation) in self.centres.items():
            values = (_numbers(frame, column) - mean) / deviation
            # A number that does not apply is a choice of its own, which the indicators of the text columns have.
            parts.append(0.5 * np.nan_to_num(values)[:, None])
        return np.concatenate(parts, axis=1)

    def _indicators(self, frame: pd.DataFrame, column: str) -> np.ndarray:
        given = frame[column].astype(object).where(frame[column].notna(), "").astype(str).to_numpy()
        known = np.array(self.choices[column], dtype=object)
        indicators: np.ndarray = (given[:, None] == known[None, :]).astype(np.float64)
        return indicators


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    values = frame[column].to_numpy(np.float64)
    if column in _LOGARITHMIC:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(values)
        values = np.where(np.isfinite(values), values, np.nan)
    return values
