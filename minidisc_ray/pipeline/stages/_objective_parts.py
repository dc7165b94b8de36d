"""Keeps an objective's own trained parts, such as projections, in a file beside the model trained with them."""

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.storage import Storage
from minidisc_ray.objectives import Objective

PARTS = "objective.safetensors"


def save_objective_parts(storage: Storage, objective: Objective, folder: Path) -> None:
    """Save an objective's trained parts in a stage's folder; writes no file if it has none."""
    parts = {name: part.detach().cpu() for name, part in objective.named_parameters() if part.requires_grad}
    if parts:
        storage.write_file(folder / PARTS, lambda temporary: save_file(parts, temporary))


def load_objective_parts(storage: Storage, folder: Path, objective: Objective) -> None:
    """Load into an objective the parts that were trained with the model that now teaches.

    Args:
        storage: the run's.
        folder: the folder of the finished stage that trained that model.
        objective: the next stage's.

    Raises:
        UserError: if the file is damaged, or lacks parts that the objective needs.
    """
    path = folder / PARTS
    storage.fetch_file(path)
    try:
        objective.follow(load_file(path) if path.exists() else {})
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path}: the objective's parts that this stage left are missing or damaged ({reason}); remove {folder} "
            "and run again, which trains the stage again"
        ) from error


def copy_objective_parts(storage: Storage, stage: Path, folder: Path) -> None:
    """Copy a stage's objective parts, if it has any, into the folder that its model is copied to."""
    if (stage / PARTS).exists():
        storage.write_file(folder / PARTS, lambda temporary: shutil.copyfile(stage / PARTS, temporary))
