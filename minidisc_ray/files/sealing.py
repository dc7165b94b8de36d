"""Writes folders whole or not at all; the seal, with every file's size and digest, is written last."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from minidisc_ray.files.digests import SEAL, entry_of
from minidisc_ray.files.writing import remove, replace_folder, sync, temporary_beside


def seal(folder: Path) -> None:
    """Write the seal of a complete folder, and sync all of it to disk."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / SEAL]
    for path in files:
        # safetensors writes files that only their owner can read; some mounted buckets have no modes.
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
    folder: Path, fill: Callable[[Path], object], place: Callable[[Path, Path], None] = replace_folder
) -> None:
    """Write a sealed folder, whole or not at all; replaces one of the same name.

    Args:
        folder: to write.
        fill: writes the files into an empty temporary folder.
        place: renames the temporary folder (first argument) to the real name (second).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    try:
        temporary.mkdir()
        fill(temporary)
        seal(temporary)
        place(temporary, folder)
    finally:
        remove(temporary)
