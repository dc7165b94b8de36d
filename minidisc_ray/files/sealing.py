"""Writes folders whole or not at all: the seal, with every file's size and digest, comes last."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from minidisc_ray.files.digests import SEAL, entry_of
from minidisc_ray.files.writing import put_in_place, remove, sync, temporary_beside


def seal(folder: Path) -> None:
    """Write the seal of a folder that is complete, and have all of it on the disk."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / SEAL]
    for path in files:
        # safetensors makes its files readable by their owner alone; some mounted buckets know no modes.
        with suppress(OSError):
            path.chmod(path.parent.stat().st_mode & 0o666)
        sync(path)
    entries = {path.relative_to(folder).as_posix(): entry_of(path) for path in files}
    (folder / SEAL).write_text(json.dumps({"files": entries}, indent=2) + "\n", encoding="utf-8")
    sync(folder / SEAL)
    for inner in [path for path in folder.rglob("*") if path.is_dir()]:
        sync(inner)
    sync(folder)


def write_folder(
    folder: Path, fill: Callable[[Path], object], place: Callable[[Path, Path], None] = put_in_place
) -> None:
    """Replace a folder by a sealed one, whole or not at all.

    Args:
        folder: its real name.
        fill: writes files into the empty folder that it is given.
        place: gives that folder its real name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    remove(temporary)
    try:
        temporary.mkdir()
        fill(temporary)
        seal(temporary)
        place(temporary, folder)
    finally:
        remove(temporary)
