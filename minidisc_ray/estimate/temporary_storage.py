"""A temporary storage for timed stages."""

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
    """The same run in another storage, with its run folder created there."""
    moved = replace(
        prepared,
        config=prepared.config.model_copy(update={"storage": str(storage)}),
        storage=Storage(storage),
        encoded={},
    )
    open_run(moved)
    return moved


@contextmanager
def temporary_storage(prepared: PreparedRun) -> Iterator[Path]:
    """A temporary folder beside the recipe's storage, so that checkpoints are timed on the same file system.

    If this process is killed, ``minidisc clean`` removes the folder, which has the name of a temporary file.

    Raises:
        UserError: if the folder cannot be created.
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
