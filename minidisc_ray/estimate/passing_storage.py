"""Timing in a storage that goes again."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import temporary_beside
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepared_run import PreparedRun


def moved_to(prepared: PreparedRun, storage: Path) -> PreparedRun:
    """The same run in another storage, its folder made."""
    moved = replace(
        prepared,
        config=prepared.config.model_copy(update={"storage": str(storage)}),
        storage=Storage(storage),
        encoded={},
    )
    open_run(moved)
    return moved


@contextmanager
def storage_beside(prepared: PreparedRun) -> Iterator[Path]:
    """A folder on the file system of the recipe's storage, where checkpoints will be written; it goes in any case.

    Its name is that of a leftover, which ``minidisc clean`` removes should this process be killed.

    Raises:
        UserError: if it cannot be made.
    """
    parent = prepared.storage.root
    while not parent.is_dir():
        parent = parent.parent
    folder = temporary_beside(parent / "estimate")
    try:
        folder.mkdir()
    except OSError as error:
        raise UserError(f"storage: {prepared.storage.root} cannot be written ({error.strerror})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
