"""An objective's own trained parts lie beside the model that they were trained with, never in it."""

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.storage import Storage
from minidisc_ray.objectives import Objective

PARTS = "objective.safetensors"


def save_objective_parts(storage: Storage, objective: Objective, folder: Path) -> None:
    """Keep the objective's trained parts beside the stage's model, never in it."""
    parts = {name: part.detach().cpu() for name, part in objective.named_parameters() if part.requires_grad}
    if parts:
        storage.write_file(folder / PARTS, lambda temporary: save_file(parts, temporary))


def load_objective_parts(storage: Storage, folder: Path, objective: Objective) -> None:
    """Give an objective the parts that were trained with the model that now teaches.

    Args:
        storage: that the stages are kept in.
        folder: of the finished stage that made that model.
        objective: of the next stage.

    Raises:
        UserError: if its file is damaged, or lacks what the objective needs.
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
    """The objective's own parts go where the model goes that they were trained with."""
    if (stage / PARTS).exists():
        storage.write_file(folder / PARTS, lambda temporary: shutil.copyfile(stage / PARTS, temporary))
