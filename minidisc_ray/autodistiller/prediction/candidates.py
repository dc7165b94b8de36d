"""Configurations that can be recommended: pipelines of Distiller that the table knows and a recipe can express."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, get_args

import pandas as pd

from minidisc_ray.autodistiller.tables.frame import SCHEMA_VERSION, checked_frame
from minidisc_ray.autodistiller.tables.runs import components, student_name, teacher_name
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import DistillerConfig, MeasureConfig, MIAlphaConfig
from minidisc_ray.configs.run import RunConfig

_MEASURES: Final = get_args(MeasureConfig.model_fields["kind"].annotation)
_MAPPINGS: Final = get_args(DistillerConfig.model_fields["mapping"].annotation)
_PREDICTIONS: Final = get_args(DistillerConfig.model_fields["prediction"].annotation)


@dataclass(frozen=True)
class Candidates:
    """Objectives that may be recommended, and what was left out.

    Attributes:
        objectives: all combinations of losses, mappings and prediction losses that the table has.
        notes: a sentence for each kind of observed configuration that no recipe expresses.
    """

    objectives: tuple[DistillerConfig, ...]
    notes: tuple[str, ...]


def candidates_of(frame: pd.DataFrame) -> Candidates:
    """The candidates that a table knows something of.

    Raises:
        UserError: if it knows no pipeline of Distiller.
    """
    alphas = sorted(frame.loc[frame["intermediate_loss"] == "mi_alpha", "alpha"].dropna().unique())
    strange = [alpha for alpha in alphas if not 0 <= alpha <= 1]
    if strange:
        raise UserError(
            f"alpha is {strange[0]:g} in a row of the table; MI-alpha takes 0 to 1: correct it or drop the row"
        )
    losses: list[MeasureConfig | MIAlphaConfig] = [MIAlphaConfig(alpha=float(alpha)) for alpha in alphas]
    losses += [MeasureConfig(kind=kind) for kind in _MEASURES if (frame["intermediate_loss"] == kind).any()]
    mappings = [mapping for mapping in _MAPPINGS if (frame["intermediate_strategy"] == mapping).any()]
    predictions = [loss for loss in _PREDICTIONS if (frame["prediction_loss"] == loss).any()]
    objectives = tuple(
        DistillerConfig(intermediate=loss, mapping=mapping, prediction=prediction)
        for loss, mapping, prediction in product(losses, mappings, predictions)
    )
    if not objectives:
        raise UserError(
            "the table has no observation of Distiller's pipeline (objective.kind distiller), among whose parts a "
            "recommendation chooses; add the published observations with `minidisc observe --public DIR`"
        )
    return Candidates(objectives, tuple(_left_out(frame)))


def candidate_rows(
    config: RunConfig, objectives: Sequence[DistillerConfig], num_examples: int, num_labels: int
) -> pd.DataFrame:
    """The candidates on a recipe's task, as rows of a table whose outcomes are not known yet."""
    teacher = teacher_name(config.teacher)
    distil = config.distil_training
    task = {
        "task": config.task_name,
        "student": student_name(config.student, teacher),
        "teacher": teacher,
        "scale_percent": config.student.scale_percent,
        "learning_rate": distil.learning_rate,
        "batch_size": distil.batch_size,
        "num_epochs": distil.num_epochs,
        "num_examples": num_examples,
        "num_labels": num_labels,
    }
    return rows_of(task, objectives)


def rows_of(task: Mapping[str, Any], objectives: Sequence[DistillerConfig]) -> pd.DataFrame:
    """The candidates as rows, with the columns that are the same in all of them."""
    # Required of an observation; nothing reads them here.
    outcomes = {"score": 0.0, "ratio_to_teacher": 0.0, "source": "candidate", "schema_version": SCHEMA_VERSION}
    rows = [{**task, **outcomes, **components(objective)} for objective in objectives]
    return checked_frame(pd.DataFrame(rows), "candidates")


def _left_out(frame: pd.DataFrame) -> list[str]:
    unmapped = {
        "augmentation": ~frame["augmentation"].fillna("none").isin(["none"]),
        "mixup": frame["mixup"].fillna(False).astype(bool),
    }
    return [
        f"{int(rows.sum()):,} observations use {name}, for which recipes have no key; the predictor learns from them, "
        "but does not recommend them"
        for name, rows in unmapped.items()
        if rows.any()
    ]
