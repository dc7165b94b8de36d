"""What a run's page says of predictions: classes and their confusion, or errors, of student and teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.task import ValueMetric
from minidisc_ray.evaluation import ClassDetails, Details, ErrorDetails, details_of
from minidisc_ray.log import logger
from minidisc_ray.reports.run.evaluation import MAX_MATRIX_CLASSES, class_table, confusion_table, error_table
from minidisc_ray.reports.tables import Table
from minidisc_ray.run_files.predictions import VALIDATION, predictions_path, read_predictions
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.plan import MAIN_TRIAL, STUDENT, TEACHER


@dataclass(frozen=True)
class Confusion:
    """One model's confusion; shares of each row's sum only where the table is a matrix."""

    table: Table
    shares: list[list[float]] | None


@dataclass(frozen=True)
class PredictionSection:
    """One validation set: a table of classes or errors, and each model's confusion."""

    title: str
    explanation: str
    table: Table
    confusions: tuple[Confusion, ...] = ()


def prediction_sections(folder: Path, result: RunResult) -> list[PredictionSection]:
    """A section for each validation set; none where the run kept no predictions, or they cannot be read."""
    if not result.label_names and result.primary_metric not in get_args(ValueMetric):
        return []
    try:
        by_set = _details(folder, result)
    except (UserError, ValueError, IndexError) as error:
        logger.warning("%s: the report is without classes and errors (%s)", folder, first_line(error))
        return []
    suffixes = {name: f" ({name})" if len(by_set) > 1 else "" for name in by_set}
    return [_section(suffixes[name], models) for name, models in by_set.items() if STUDENT in models]


def classes_never_found(folder: Path, result: RunResult) -> list[str]:
    """Classes that validation rows have, none of which the student recognised (recall 0); empty without predictions."""
    if not result.label_names:
        return []
    try:
        by_set = _details(folder, result)
    except (UserError, ValueError, IndexError):
        return []
    found = [models[STUDENT] for models in by_set.values() if STUDENT in models]
    scores = [score for details in found if isinstance(details, ClassDetails) for score in details.scores]
    return list(dict.fromkeys(score.name for score in scores if score.support and not score.recall))


def _details(folder: Path, result: RunResult) -> dict[str, dict[str, Details]]:
    """Each validation set's details, by model."""
    labels = _validation(read_predictions(predictions_path(folder)))
    files = {
        STUDENT: predictions_path(folder, result.student_trial, STUDENT),
        TEACHER: predictions_path(folder, MAIN_TRIAL, TEACHER),
    }
    logits = {model: _validation(read_predictions(path)) for model, path in files.items()}
    return {
        name: {
            model: details_of(result.label_names, found[name], of_set)
            for model, found in logits.items()
            if name in found
        }
        for name, of_set in labels.items()
    }


def _validation(arrays: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Arrays of the validation sets, by the set's name."""
    prefix = f"{VALIDATION}/"
    return {name.removeprefix(prefix): array for name, array in (arrays or {}).items() if name.startswith(prefix)}


def _section(suffix: str, models: Mapping[str, Details]) -> PredictionSection:
    titled = {model.capitalize(): details for model, details in models.items()}
    errors = {model: details for model, details in titled.items() if isinstance(details, ErrorDetails)}
    if errors:
        title = f"Errors{suffix}"
        explanation = (
            f"On the {next(iter(errors.values())).num_rows:,} validation rows{suffix}; a residual is the prediction "
            "minus the label."
        )
        return PredictionSection(title, explanation, error_table(title, errors))
    classes = {model: details for model, details in titled.items() if isinstance(details, ClassDetails)}
    first = next(iter(classes.values()))
    is_matrix = first.confusion is not None and len(first.names) <= MAX_MATRIX_CLASSES
    shows = "labels in rows, predictions in columns" if is_matrix else "most confused pairs"
    title = f"Classes{suffix}"
    explanation = f"Precision, recall and F1 in percent, on the {first.num_rows:,} validation rows{suffix}."
    if is_matrix:
        explanation += " A matrix counts rows; a cell's colour shows its share of the label's rows."
    confusions = tuple(
        Confusion(confusion_table(f"{model}: {shows}", details), details.shares().tolist() if is_matrix else None)
        for model, details in classes.items()
        if details.confusion is not None
    )
    return PredictionSection(title, explanation, class_table(title, classes), confusions)
