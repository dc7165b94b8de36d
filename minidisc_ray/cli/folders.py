"""Checks an output folder before anything is computed."""

import os
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import is_uri


def check_output_folder(folder: Path, may_exist: bool) -> None:
    """Check that ``--output`` is a folder on this machine that can be made, or one that is there and empty.

    Args:
        folder: as given.
        may_exist: whether an empty folder is allowed.

    Raises:
        UserError: if it is in a bucket, a file, or not empty, or cannot be written.
    """
    if is_uri(folder):
        raise UserError(
            f"--output: {folder.name} would be in a bucket; give a folder on this machine, and copy it from there"
        )
    if folder.is_dir() and may_exist:
        if any(folder.iterdir()):
            raise UserError(f"--output: {folder} is not empty; choose another name")
    elif folder.exists():
        reason = "exists; choose another name" if folder.is_dir() else "is a file; give a folder"
        raise UserError(f"--output: {folder} {reason}")
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise UserError(f"--output: {folder} cannot be written ({above} is a file); give another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"--output: {folder} cannot be written ({above} is read-only for you); give another folder")
