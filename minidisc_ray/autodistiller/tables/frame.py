"""The table of observations: one distillation a row, its configuration, its task and what came out.

Every part of this package reads and writes this one frame. A cell that does not apply is missing: None in a text
column, NaN in a numeric one, pandas' NA in ``mixup``.
"""

import re
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd

from minidisc_ray.configs.base import UserError

SCHEMA_VERSION: Final = 1

# Configuration: the names and values are those of `objective: {kind: distiller}`, where it has them.
TEXT_COMPONENTS: Final = (
    "student",
    "teacher",
    "intermediate_loss",  # none, mi_alpha, mse, l2, cosine, pkd, ce
    "intermediate_strategy",  # skip, last, emd
    "prediction_loss",  # ce, mse
    "augmentation",  # none, contextual, backtranslation, random; several joined by "+" in the order of use
    "schedule",
    "objective",
)
NUMERIC_COMPONENTS: Final = (
    "alpha",  # of MI-alpha only
    "augmentation_repeats",
    "augmentation_share",  # of words changed; missing without augmentation
    "num_assistants",
    "scale_percent",
    "learning_rate",
    "batch_size",
    "num_epochs",
)
FLAG_COMPONENTS: Final = ("mixup",)
COMPONENTS: Final = (*TEXT_COMPONENTS, *NUMERIC_COMPONENTS, *FLAG_COMPONENTS)

# Sizes of the models, by which one that no row has is compared with others; missing where unknown.
SIZES: Final = ("student_parameters", "teacher_parameters")
# Of the task; `num_labels` is the width of the output, 1 for a regression; scores are shares, so that a correlation may
# be negative.
TASK_NUMBERS: Final = ("num_examples", "num_labels", "baseline_score", "teacher_score")
# `ratio_to_teacher` is score / teacher_score; `ratio` is equation 2, missing where the teacher is not above the
# student that was fine-tuned without it, or that student's score is unknown.
OUTCOMES: Final = ("score", "ratio_to_teacher", "ratio")

TEXTS: Final = ("task", *TEXT_COMPONENTS, "source")
NUMBERS: Final = (*NUMERIC_COMPONENTS, *SIZES, *TASK_NUMBERS, *OUTCOMES, "schema_version")
FLAGS: Final = FLAG_COMPONENTS
COLUMNS: Final = ("task", *COMPONENTS, *SIZES, *TASK_NUMBERS, *OUTCOMES, "source", "schema_version")
# Never missing.
REQUIRED: Final = ("task", "student", "teacher", "score", "ratio_to_teacher", "source", "schema_version")

# Above 0 wherever they are known.
POSITIVE: Final = ("learning_rate", "batch_size", "num_epochs", "num_examples", *SIZES)

SHARES: Final = ("score", "baseline_score", "teacher_score")
RATIOS: Final = ("ratio_to_teacher", "ratio")
# Equation 2 is huge where the teacher is hardly above the student; more than this is a slip.
_LARGEST_RATIO: Final = 10_000
# Twice the width of a large model.
_MOST_FEATURES: Final = 20_000
# Squares and sums of such numbers are still finite.
_LARGEST: Final = 1e100

# feature_000, feature_001, ...: the first half embeds the task's rows, the second half its description (table 2).
FEATURE: Final = re.compile(r"feature_\d{3,}")


def feature_name(place: int) -> str:
    """The column of a dataset feature, counted from 0."""
    return f"feature_{place:03d}"


def feature_columns(names: Iterable[str]) -> list[str]:
    """The dataset features among names of columns, in order."""
    found = (name for name in names if FEATURE.fullmatch(name))
    # By number: a wide model has over a thousand.
    return sorted(found, key=lambda name: (len(name), name))


def checked_frame(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A frame with these columns in this order and with their types: str, float64 and boolean; never changes it.

    Columns that may be missing are added, all cells missing.

    Args:
        frame: observations.
        name: where they are from, for messages.

    Raises:
        UserError: for an unknown column or a newer version's table, for a required column or cell that is missing,
            for a text in a numeric column, and for a number that no distillation has.
    """
    columns = [str(column) for column in frame.columns]
    versions = pd.to_numeric(frame["schema_version"], errors="coerce") if "schema_version" in columns else None
    # Before the columns: a newer version may have more of them.
    if versions is not None and len(frame) and versions.max() > SCHEMA_VERSION:
        raise UserError(
            f"{name}: a newer release wrote it (schema_version {versions.max():g}, this one reads {SCHEMA_VERSION}); "
            "read it with that release"
        )
    unknown = [column for column in columns if column not in COLUMNS and not FEATURE.fullmatch(column)]
    if unknown:
        raise UserError(
            f"{name}: unknown column {unknown[0]!r}; a table of observations has {', '.join(COLUMNS)} and "
            f"{feature_name(0)}, {feature_name(1)}, ...; `minidisc observe` writes one"
        )
    absent = [column for column in REQUIRED if column not in columns]
    if absent:
        raise UserError(f"{name}: lacks the column {absent[0]!r}; `minidisc observe` writes a whole table")
    features = feature_columns(columns)
    if len(features) > _MOST_FEATURES:
        raise UserError(f"{name}: has {len(features):,} dataset features, more than {_MOST_FEATURES:,}; drop some")
    missing = pd.Series(np.nan, frame.index)
    typed = {column: _typed(frame.get(column, missing).rename(column), name) for column in (*COLUMNS, *features)}
    # Put together at once: pandas warns of a hundred columns that are added one by one.
    checked = pd.DataFrame(typed)
    for column in REQUIRED:
        if checked[column].isna().any():
            row = int(np.flatnonzero(checked[column].isna().to_numpy())[0])
            raise UserError(f"{name}: {column} is missing in row {row + 1} of {len(frame)}; drop the row or fill it in")
    _check_numbers(checked, name)
    return checked.reset_index(drop=True)


def configuration_keys(frame: pd.DataFrame) -> pd.Series:
    """The number of each row's configuration on its task: rows that repeat one, with another seed, share it."""
    return frame.groupby(["task", *COMPONENTS], dropna=False, sort=False).ngroup()


def _check_numbers(checked: pd.DataFrame, name: str) -> None:
    """Refuse numbers that no distillation has: their logarithm would silently be taken as unknown.

    Raises:
        UserError: for the first one.
    """

    def outside(column: str, low: float, high: float) -> pd.Series:
        return checked[column].notna() & ~checked[column].between(low, high)

    labels = checked["num_labels"]
    wrong = {column: (checked[column] <= 0, "numbers above 0") for column in POSITIVE}
    wrong |= {column: (outside(column, -1, 1), "shares from -1 to 1") for column in SHARES}
    wrong |= {
        column: (outside(column, -_LARGEST_RATIO, _LARGEST_RATIO), f"ratios up to {_LARGEST_RATIO:,}")
        for column in RATIOS
    }
    wrong["scale_percent"] = (outside("scale_percent", 1, 100), "percents from 1 to 100")
    wrong["num_labels"] = (labels.notna() & ((labels < 1) | (labels % 1 != 0)), "whole numbers from 1")
    is_known = checked["schema_version"].isin(range(1, SCHEMA_VERSION + 1))
    wrong["schema_version"] = (~is_known, f"whole numbers from 1 to {SCHEMA_VERSION}")
    for column, (rows, allowed) in wrong.items():
        if rows.any():
            row = int(np.flatnonzero(rows.to_numpy())[0])
            raise UserError(
                f"{name}: {column} is {checked[column].iloc[row]:g} in row {row + 1} of {len(checked)}, which takes "
                f"{allowed}; correct it or drop the row"
            )


def _typed(column: pd.Series, name: str) -> pd.Series:
    if column.name in TEXTS:
        return _texts(column, name)
    return _flags(column, name) if column.name in FLAGS else _numbers(column, name)


def _texts(column: pd.Series, name: str) -> pd.Series:
    if not all(pd.api.types.is_scalar(cell) for cell in column):
        raise UserError(f"{name}: {column.name} has a cell that is a list; write one text in each")
    if any(isinstance(cell, bytes) for cell in column):
        raise UserError(f"{name}: {column.name} has a cell of bytes; write texts")
    return column.astype(object).map(lambda cell: None if pd.isna(cell) else str(cell)).astype("str")


def _numbers(column: pd.Series, name: str) -> pd.Series:
    if column.dtype.kind in "bmM" and column.notna().any():
        raise UserError(f"{name}: {column.name} has cells of type {column.dtype}, not numbers; correct it")
    try:
        numbers = pd.to_numeric(column).astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name}: {column.name} has a cell that is not a number ({error}); correct it") from error
    if (np.abs(numbers.to_numpy()) > _LARGEST).any():
        raise UserError(f"{name}: {column.name} has a cell beyond {_LARGEST:g}; correct it or drop the row")
    return numbers


def _flags(column: pd.Series, name: str) -> pd.Series:
    if not all(pd.api.types.is_scalar(cell) for cell in column):
        raise UserError(f"{name}: {column.name} has a cell that is a list; use true or false")
    words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    cells = [None if pd.isna(cell) else str(cell).lower() for cell in column]
    strange = sorted({cell for cell in cells if cell is not None and cell not in words})
    if strange:
        raise UserError(f"{name}: {column.name} is {strange[0]!r} in a row; use true or false")
    return pd.Series([None if cell is None else words[cell] for cell in cells], column.index, dtype="boolean")
