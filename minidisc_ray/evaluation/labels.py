"""Predictions as people read them."""

import numpy as np

from minidisc_ray.core.task import Task


def predicted_labels(
    task: Task,
    logits: np.ndarray,  # (N, C)
) -> list[str] | list[float]:  # N
    """Each row's most likely label's name, or its value for a regression.

    Raises:
        ValueError: if the logits' shape does not fit the task.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] != task.num_labels:
        raise ValueError(f"logits {logits.shape} do not fit {task.num_labels} outputs")
    if task.is_regression:
        return [float(value) for value in logits[:, 0]]
    return [task.label_names[index] for index in logits.argmax(axis=1)]
