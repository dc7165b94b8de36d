"""The files in which a run keeps predictions."""

from pathlib import Path

import numpy as np
from storage_kit import LOCAL

from minidisc_ray.run_files.predictions import predictions_path, write_predictions


def keep_predictions(
    folder: Path, logits: np.ndarray, labels: np.ndarray, trial: str = "main", names: tuple[str, ...] = ("validation",)
) -> None:
    """The files of a run whose teacher is right on every row."""
    right = np.eye(logits.shape[1])[labels] if logits.shape[1] > 1 else labels[:, None]
    for path, array in (
        (predictions_path(folder), labels),
        (predictions_path(folder, trial, "student"), logits),
        (predictions_path(folder, "main", "teacher"), right),
    ):
        write_predictions(LOCAL, path, {f"validation/{name}": array for name in names})
