"""The interval of a student's metric, from its predictions on validation rows.

N rows, C outputs.
"""

from pathlib import Path

import numpy as np

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import Interval, LabelledRows, bootstrap, score
from minidisc_ray.run_files.predictions import VALIDATION, predictions_path, read_predictions
from minidisc_ray.run_files.result import RunResult

_SAME = 1e-6  # largest difference between two computations of one metric


def student_interval(run_folder: Path, result: RunResult) -> Interval | None:
    """The 95% interval of the primary metric over validation rows; None if the predictions were not kept.

    Raises:
        UserError: if the predictions are damaged.
    """
    try:
        return _interval(run_folder, result)
    except UserError:
        raise
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise UserError(
            f"{predictions_path(run_folder).parent}: not this run's predictions ({first_line(error)}); remove the run "
            "and run its recipe again"
        ) from error


def _interval(run_folder: Path, result: RunResult) -> Interval | None:
    labels = _validation_arrays(read_predictions(predictions_path(run_folder)))
    point = result.student.validation_metrics[result.primary_metric]
    for path in sorted(predictions_path(run_folder).parent.glob("*.student.safetensors")):
        logits = _validation_arrays(read_predictions(path))
        for split in sorted(labels.keys() & logits.keys()):
            task = _task_of(result, split, logits[split], labels[split])
            # The score identifies the trial whose student was kept, and the primary validation set.
            if abs(score(task, logits[split], labels[split])[result.primary_metric] - point) < _SAME:
                rows = LabelledRows(task, {split: labels[split]})
                return bootstrap(rows, {"student": {0: rows.predictions({split: logits[split]})}})["student"].interval()
    return None


def _validation_arrays(arrays: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    prefix = f"{VALIDATION}/"
    return {key.removeprefix(prefix): array for key, array in (arrays or {}).items() if key.startswith(prefix)}


def _task_of(
    result: RunResult,
    split: str,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,), or (N, C) of a multi-label task
) -> Task:
    is_regression = result.primary_metric in ("spearman", "pearson")
    names = () if is_regression else tuple(str(number) for number in range(logits.shape[1]))
    metrics = (result.primary_metric,)
    return Task(result.task, ("text",), "label", names, metrics, (split,), is_multilabel=labels.ndim == 2)
