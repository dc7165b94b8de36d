"""The interval of a run's student, from what it answered row by row.

N rows, C outputs.
"""

from pathlib import Path

import numpy as np

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import Interval, LabelledRows, bootstrap, score
from minidisc_ray.run_files.predictions import VALIDATION, predictions_path, read_predictions
from minidisc_ray.run_files.result import RunResult

_SAME = 1e-6


def student_interval(run_folder: Path, result: RunResult) -> Interval | None:
    """The primary metric with its 95% interval over validation rows; None where the answers were not kept.

    Raises:
        UserError: if they are damaged.
    """
    try:
        return _interval(run_folder, result)
    except UserError:
        raise
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise UserError(
            f"{predictions_path(run_folder).parent}: not this run's answers ({first_line(error)}); remove the run and "
            "run its recipe again"
        ) from error


def _interval(run_folder: Path, result: RunResult) -> Interval | None:
    labels = _of_validation(read_predictions(predictions_path(run_folder)))
    point = result.student.validation_metrics[result.primary_metric]
    for path in sorted(predictions_path(run_folder).parent.glob("*.student.safetensors")):
        logits = _of_validation(read_predictions(path))
        for split in sorted(labels.keys() & logits.keys()):
            task = _task_of(result, split, logits[split])
            # Of several trials the one whose student was kept, and of several sets the primary one.
            if abs(score(task, logits[split], labels[split])[result.primary_metric] - point) < _SAME:
                rows = LabelledRows(task, {split: labels[split]})
                return bootstrap(rows, {"student": {0: rows.predictions({split: logits[split]})}})["student"].interval()
    return None


def _of_validation(arrays: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    prefix = f"{VALIDATION}/"
    return {key.removeprefix(prefix): array for key, array in (arrays or {}).items() if key.startswith(prefix)}


def _task_of(result: RunResult, split: str, logits: np.ndarray) -> Task:  # logits (N, C)
    is_regression = result.primary_metric in ("spearman", "pearson")
    names = () if is_regression else tuple(str(number) for number in range(logits.shape[1]))
    return Task(result.task, ("text",), "label", names, (result.primary_metric,), (split,))
