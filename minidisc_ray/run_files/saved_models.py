"""Models that stages leave."""

from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.digests import DamageError
from minidisc_ray.files.sealing import copy_folder


def copy_model(source: Path, folder: Path) -> None:
    """Copy a saved model, whole or not at all.

    Raises:
        UserError: if it is damaged.
    """
    try:
        copy_folder(source, folder)
    except DamageError as error:
        raise UserError(f"{source}: the model is damaged ({error}); remove {source.parent} and run again") from error
