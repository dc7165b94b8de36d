"""Logits of finished models for every row: kept beside the result, so that intervals need no model.

``predictions/TRIAL.STAGE.safetensors`` in a run directory holds logits: ``selection/40`` (of the model at 40 percent)
and ``validation/SET``. ``predictions/labels.safetensors`` holds the labels: ``selection`` and ``validation/SET``.
N rows, C classes.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.storage import Storage

SELECTION = "selection"
VALIDATION = "validation"
_FOLDER = "predictions"
_LABELS = "labels"
_DIGEST = "sha256"


def predictions_path(run_folder: Path, trial: str | None = None, stage: str | None = None) -> Path:
    """The file of a stage's logits; without a trial, the file of the labels."""
    return run_folder / _FOLDER / (f"{_LABELS}.safetensors" if trial is None else f"{trial}.{stage}.safetensors")


def write_predictions(storage: Storage, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a stage's logits, (N, C) each, or labels, (N,) each, whole or not at all."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {_DIGEST: _digest(kept)}
    storage.write_file(path, lambda temporary: save_file(kept, temporary, metadata))


def read_predictions(path: Path) -> dict[str, np.ndarray] | None:
    """Read logits or labels, by their names in the file; None where the run kept none.

    Raises:
        UserError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata.get(_DIGEST, found := _digest(arrays)) != found:
            raise ValueError("its values are not those that were written")
        return arrays
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not readable as predictions ({reason}); remove the run and run it again") from error


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        sha.update(arrays[name].tobytes())
    return sha.hexdigest()
