"""Run directories: making one, finishing one, and freeing what no result needs."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.files import read_json, write_json, write_text
from minidisc_ray.pipeline.prepare import Prepared, check_storage

ENCODINGS = "encodings"
_LEFTOVER_AGE_SECONDS = 600.0


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
        UserError: if there is no storage with runs.
    """
    root = Path(storage).expanduser()
    if not root.is_dir():
        raise UserError(f"{storage}: no such storage folder")
    doomed: list[Path] = []
    used: set[str] = set()
    runs = sorted(path for path in root.iterdir() if path.is_dir() and (path / "identity.json").is_file())
    if not runs:
        # Nothing is ever removed from a folder that is not certainly ours.
        raise UserError(f"{storage}: no runs there; give the storage root, the folder that holds the runs")
    for folder in runs:
        used.update(read_json(folder / "shared.json") or [])
        doomed += _leftovers(folder)
        if (folder / "result.json").is_file():
            doomed += [path for name in ("stages", "ray") if (path := folder / name).exists()]
            doomed += [path for path in folder.glob("trials/*/stages/*/model") if path.is_dir()]
    shared = root / "_shared"
    if shared.is_dir():
        doomed += _leftovers(shared)
        doomed += shared.glob(f"{ENCODINGS}/encodings-*.safetensors")
        artifacts = (path for kind in ("teacher", "importance") for path in shared.glob(f"{kind}-*"))
        doomed += [path for path in artifacts if path.name not in used]
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
    """Temporary files and folders that a killed process left; young ones may be in use by a live run."""
    youngest = time.time() - _LEFTOVER_AGE_SECONDS
    return [path for path in folder.rglob(".*.tmp*") if path.lstat().st_mtime < youngest]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
