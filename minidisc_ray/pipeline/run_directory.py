"""Run directories: making one, finishing one, and freeing what no result needs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.files import read_json, write_json, write_text
from minidisc_ray.pipeline.prepare import Prepared, check_storage

ENCODINGS = "encodings"


def open_run(prepared: Prepared) -> Path:
    """Make the run directory, or take up one that the same config made.

    Raises:
        UserError: if it cannot be written, or another config made it.
    """
    check_storage(prepared)
    folder = prepared.run_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (prepared.shared_folder / ENCODINGS).mkdir(parents=True, exist_ok=True)
        write_json(folder / "identity.json", prepared.identity)
        resolved = prepared.config.model_dump(mode="json")
        write_text(folder / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
        uses = [f"teacher-{prepared.teacher_key}", f"importance-{prepared.importance_key}"]
        write_json(folder / "shared.json", uses)
    except OSError as error:
        raise UserError(f"storage: {prepared.storage} cannot be written ({error.strerror})") from error
    return folder


@dataclass(frozen=True)
class Freed:
    """What :func:`clean` removed."""

    paths: tuple[Path, ...]
    bytes: int


def clean(storage: str | Path, dry_run: bool = False) -> Freed:
    """Remove stages and trials' models of finished runs, encodings, leftovers, and shared artifacts that no run uses.

    Results, students, reports, ledgers and unfinished runs stay as they are.

    Raises:
        UserError: if the storage is not there.
    """
    root = Path(storage).expanduser()
    if not root.is_dir():
        raise UserError(f"{storage}: no such storage folder")
    doomed: list[Path] = []
    used: set[str] = set()
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and (path / "identity.json").is_file()):
        used.update(read_json(folder / "shared.json") or [])
        doomed += _leftovers(folder)
        if (folder / "result.json").is_file():
            doomed += [path for name in ("stages", "ray") if (path := folder / name).exists()]
            doomed += [path for path in folder.glob("trials/*/stages/*/model") if path.is_dir()]
    shared = root / "_shared"
    if shared.is_dir():
        doomed += _leftovers(shared)
        doomed += [path for path in shared.glob(f"{ENCODINGS}/*") if path not in doomed]
        doomed += [path for path in shared.iterdir() if path.name != ENCODINGS and path.name not in used | {ENCODINGS}]
    doomed = list(dict.fromkeys(doomed))
    freed = sum(_size(path) for path in doomed)
    if not dry_run:
        for path in doomed:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return Freed(tuple(doomed), freed)


def _leftovers(folder: Path) -> list[Path]:
    """Temporary files and folders that a killed process left."""
    return list(folder.rglob(".*.tmp*"))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
