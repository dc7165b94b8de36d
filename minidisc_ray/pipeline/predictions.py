"""What finished models answered, row by row: kept beside the result, so that intervals need no model.

``predictions/TRIAL.STAGE.safetensors`` in a run directory holds logits by the rows' name: ``selection/40`` for the
model at 40 percent, ``validation/SET``; ``predictions/labels.safetensors`` the labels, ``selection`` and
``validation/SET``.
N rows, C classes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.files import temporary_beside
from minidisc_ray.pipeline.prepared import Prepared

SELECTION = "selection"
VALIDATION = "validation"
_FOLDER = "predictions"
_LABELS = "labels"


def predictions_path(run_folder: Path, trial: str | None = None, stage: str | None = None) -> Path:
    """The file of a stage's logits; without a trial that of the labels."""
    return run_folder / _FOLDER / (f"{_LABELS}.safetensors" if trial is None else f"{trial}.{stage}.safetensors")


def keep_predictions(run_folder: Path, trial: str, stage: str, logits: Mapping[str, np.ndarray]) -> None:
    """Write a stage's logits, (N, C) each, whole or not at all."""
    _write(predictions_path(run_folder, trial, stage), logits)


def keep_labels(prepared: Prepared) -> None:
    """Write the labels, (N,) each, that the logits belong to."""
    labels = {SELECTION: prepared.selection.labels.numpy()}
    labels |= {f"{VALIDATION}/{name}": rows.labels.numpy() for name, rows in prepared.validation.items()}
    _write(predictions_path(prepared.run_folder), labels)


def read_predictions(run_folder: Path, trial: str, stage: str) -> dict[str, np.ndarray] | None:
    """A stage's logits by the rows' name; None where the run kept none.

    Raises:
        UserError: if the file is damaged.
    """
    return _read(predictions_path(run_folder, trial, stage))


def read_labels(run_folder: Path) -> dict[str, np.ndarray] | None:
    """Labels by the rows' name; None where the run kept none.

    Raises:
        UserError: if the file is damaged.
    """
    return _read(predictions_path(run_folder))


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
    temporary.replace(path)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        return load_file(path)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not readable as predictions ({reason}); remove the run and run it again") from error
