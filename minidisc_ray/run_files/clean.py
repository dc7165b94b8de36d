"""Removes the files of a storage that no result and no unfinished run needs."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import driver_of, seems_alive, unreadable_driver
from minidisc_ray.driver.names import close_names
from minidisc_ray.files.places import is_uri, uri_of
from minidisc_ray.files.writing import read_json
from minidisc_ray.run_files.family import FAMILY
from minidisc_ray.run_files.fetching import open_storage
from minidisc_ray.run_files.result import load_result

_ENCODINGS = "encodings"
_SHARED = "_shared"
# A folder with any of these is a run's, also where other files are missing.
_RUN_FILES = ("shared.json", "identity.json", "config.yaml", "result.json", "ledger.jsonl", "progress")
_LEFTOVER_AGE_SECONDS = 600.0


@dataclass(frozen=True)
class Freed:
    """What :func:`clean` removed."""

    paths: tuple[Path, ...]
    bytes: int


def clean(storage: str | Path, dry_run: bool = False, families: bool = False) -> Freed:
    """Remove stages and trials' models of finished runs, encodings, leftovers, and shared artifacts that no run uses.

    Results, students, families, reports, ledgers, unfinished runs and runs with a live driver stay as they are. If one
    run does not say which shared artifacts it uses, all of them stay.

    Args:
        storage: the storage root.
        dry_run: only find what would be removed.
        families: also remove the nested families of finished runs.

    Raises:
        UserError: if the folder does not exist, holds no runs, or is a bucket.
    """
    root = open_storage(storage).root if is_uri(storage) else Path(storage).expanduser()
    if (uri := uri_of(root)) is not None:
        client = "aws s3" if uri.startswith("s3:") else "gcloud storage"
        raise UserError(
            f"{uri}: clean frees folders, not buckets; remove what you no longer need of a finished run with the "
            f"store's own client, for instance `{client} rm --recursive {uri}/NAME/stages`"
        )
    if not root.is_dir():
        close = close_names(root.parent, root.name)
        hint = f"; close to it are {', '.join(str(root.with_name(name)) for name in close)}" if close else ""
        raise UserError(f"{root}: no such storage folder; give the folder that holds the runs{hint}")
    to_remove: list[Path] = []
    own = ("stages", "ray", FAMILY) if families else ("stages", "ray")
    runs = sorted(path for path in root.iterdir() if _is_run(path))
    if not runs:
        # A folder without a run may be any folder of the user's.
        raise UserError(f"{root}: no runs there; give the storage root, the folder that holds the runs")
    for folder in runs:
        if _may_be_driven(folder):
            continue
        to_remove += _leftovers(folder)
        if _is_finished(folder):
            to_remove += [path for name in own if (path := folder / name).exists()]
            to_remove += [path for path in folder.glob("trials/*/stages/*/model") if path.is_dir()]
    shared = root / _SHARED
    if shared.is_dir():
        used = _used_artifacts(root)
        to_remove += _leftovers(shared)
        to_remove += shared.glob(f"{_ENCODINGS}/encodings-*.safetensors")
        artifacts = (path for kind in ("teacher", "importance") for path in shared.glob(f"{kind}-*"))
        to_remove += [path for path in artifacts if used is not None and path.name not in used]
    # Nothing outside the root is removed: a folder may be a link.
    inside = root.resolve()
    to_remove = [path for path in dict.fromkeys(to_remove) if path.parent.resolve().is_relative_to(inside)]
    # A folder with a mount in it stays: removing it would empty another file system.
    mounts = [Path(one.mountpoint) for one in psutil.disk_partitions(all=True)]
    to_remove = [path for path in to_remove if not any(mount.is_relative_to(path.resolve()) for mount in mounts)]
    freed = sum(_size(path) for path in to_remove)
    if not dry_run:
        for path in to_remove:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return Freed(tuple(to_remove), freed)


def _used_artifacts(root: Path) -> set[str] | None:
    """Names of shared artifacts that any run uses, damaged runs included; None if one run does not say what it uses."""
    used: set[str] = set()
    for folder in root.iterdir():
        try:
            if folder.name == _SHARED or not folder.is_dir():
                continue
            inside = {path.name for path in folder.iterdir()}
        except OSError:
            return None
        if inside.isdisjoint(_RUN_FILES) and not _may_be_driven(folder):
            continue
        uses = read_json(folder / "shared.json")
        if not isinstance(uses, list) or not all(isinstance(use, str) for use in uses):
            return None
        used.update(uses)
    return used


def _may_be_driven(folder: Path) -> bool:
    driver = driver_of(folder)
    return unreadable_driver(folder) is not None if driver is None else seems_alive(driver, time.time())


def _is_run(folder: Path) -> bool:
    if not folder.is_dir() or folder.is_symlink():
        return False
    identity = read_json(folder / "identity.json")
    return isinstance(identity, dict) and {"numerics", "contents", "schedule"} <= identity.keys()


def _is_finished(folder: Path) -> bool:
    try:
        load_result(folder)
    except UserError:
        return False
    return True


def _leftovers(folder: Path) -> list[Path]:
    """Temporary files and folders of killed processes; a recent one may belong to a live process, and stays."""
    youngest = time.time() - _LEFTOVER_AGE_SECONDS
    return [path for path in folder.rglob(".*.tmp[0-9]*") if path.lstat().st_mtime < youngest]


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
