"""Runs that are kept in a bucket: what is downloaded to this node, and when. Nothing here happens to a local storage.

The driver decides from records, results and ledgers, and brings no model but the one that it hands out; a worker brings
what its own trial goes on from.
"""

import re
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.mirroring import (
    download_file,
    download_folder,
    download_sealed_folder,
    is_mirrored,
    is_uri,
    local_path,
)
from minidisc_ray.files.patience import reason_of, use_storage
from minidisc_ray.files.remote import Remote
from minidisc_ray.files.uris import PlaceError
from minidisc_ray.files.writing import read_json
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL

_CHECKPOINTS = {"newest", "before", "best", "best-before"}
_NOT_SMALL = {"model", *_CHECKPOINTS}
# Folders of a run itself; a stage may have the same name.
_NOT_OF_DRIVER = ("student/", "family/", "ray/", "tensorboard/")
# A live driver's own file is its own; a request to stop is looked for by itself.
_OWN = {".driver.json", ".stop.json"}


def storage_root(storage: str | Path) -> Path:
    """Where a storage's files lie on this node: the storage itself, or the mirror of a bucket.

    Raises:
        UserError: if it is nothing that runs can be kept in.
    """
    return _lying(storage, "storage: ")


def set_storage_timeout(storage: str, patience_seconds: float) -> None:
    """From here on this process waits for its run's storage, which the driver has found there.

    A worker that is started while it is away must neither take that for a mistake in the recipe nor die of it.

    Args:
        storage: as the recipe names it.
        patience_seconds: the longest wait.

    Raises:
        UserError: if the storage is nothing that runs can be kept in.
    """
    root = storage_root(storage)
    # The copy of a bucket may have nothing in it, on a node that has seen nothing of it.
    use_storage(None if is_mirrored(root) else root, patience_seconds)


def probe_bucket(storage: str) -> None:
    """Write and remove an object, before anything is started for nothing.

    Raises:
        UserError: if that fails, saying why.
    """
    if is_uri(storage) and is_mirrored(storage_root(storage)):
        try:
            Remote(storage).probe()
        except OSError as error:
            raise UserError(f"storage: {error}") from error


def fetch_run(folder: Path, is_exclusive: bool = False) -> None:
    """Bring what a driver decides from: everything of a run but models, checkpoints and logs.

    Args:
        folder: of the run.
        is_exclusive: this driver alone works on it, so what was never sent is forgotten.

    Raises:
        UserError: if it cannot be downloaded.
    """
    try:
        download_folder(folder, lambda name: _is_small(name) and not name.startswith(_NOT_OF_DRIVER), is_exclusive)
        if is_mirrored(folder):
            # Without it there the run is not finished, whatever a killed driver left here.
            download_file(folder / "result.json")
    except OSError as error:
        raise UserError(f"storage: {error}") from error


def fetch_records(*folders: Path) -> None:
    """Bring records, scores and predictions of stages and shared artifacts, without their models."""
    for folder in folders:
        download_folder(folder, _is_small)


def fetch_for_trial(run_folder: Path, trial: str, artifacts: tuple[Path, ...]) -> None:
    """Bring what a trial goes on from: shared artifacts, finished stages, newest checkpoints.

    Args:
        run_folder: of its run.
        trial: its name.
        artifacts: the folders of what the run shares with others.
    """
    if not is_mirrored(run_folder):
        return
    # A root without anything in it counts as away.
    run_folder.mkdir(parents=True, exist_ok=True)
    for folder in artifacts:
        download_folder(folder)
    is_of_run = trial in (MAIN_TRIAL, SHARED_TRIAL)
    download_folder(run_folder / "stages", is_exclusive=is_of_run)
    # What comes after all the trials chooses among them.
    download_folder(run_folder / "trials", lambda name: name.split("/")[-1] == "record.json")
    if not is_of_run:
        download_folder(run_folder / "trials" / trial, is_exclusive=True)
    download_folder(run_folder / "ledger")
    download_folder(run_folder / "history")


def fetch_model_folder(place: str | Path) -> Path:
    """Bring one model's folder, a student's for instance; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place)
    folder = _lying(place)
    try:
        download_sealed_folder(folder)
    except OSError as error:
        raise UserError(str(error)) from error
    return folder


def fetch_folders(place: str | Path, *names: str) -> Path:
    """Bring a run's or a model's own files, and some folders in it; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    folder = _lying(place)
    try:
        download_folder(folder, lambda name: "/" not in name or name.split("/")[0] in names)
    except OSError as error:
        raise UserError(str(error)) from error
    return folder


def fetch_models(place: str | Path) -> Path:
    """Bring all models of a run, its teacher among them, or one model's folder; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place)
    folder = _lying(place)
    try:
        download_folder(folder, lambda name: _is_measured(name.split("/")))
        uses = read_json(folder / "shared.json")
        for use in uses if isinstance(uses, list) else []:
            if re.fullmatch(r"teacher-[0-9a-z]+", str(use)):
                download_folder(folder.parent / "_shared" / str(use) / "model")
    except OSError as error:
        raise UserError(str(error)) from error
    return folder


def fetch_summaries(place: str | Path, depth: int = 1) -> Path:
    """Bring what ``status`` and ``compare`` show of a run or of all runs of a storage; returns where it lies.

    Raises:
        UserError: if the place is no storage, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    folder = storage_root(place)
    try:
        download_folder(folder, lambda name: _is_shown(name.split("/"), depth))
    except OSError as error:
        raise UserError(f"storage: {place} cannot be read ({reason_of(error)})") from error
    return folder


def _lying(place: str | Path, key: str = "") -> Path:
    try:
        return local_path(place)
    except PlaceError as error:
        raise UserError(f"{key}{error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}{str(place)[:80]!r} is not a path ({error})") from error


def _is_small(name: str) -> bool:
    parts = name.split("/")
    return not _NOT_SMALL.intersection(parts) and parts[-1] not in _OWN


def _is_measured(parts: list[str]) -> bool:
    """Whether a file is a run's or a model's own, or of a model that one of its stages made."""
    return len(parts) == 1 or parts[0] == "student" or (parts[0] in ("stages", "trials") and parts[-2] == "model")


def _is_shown(parts: list[str], depth: int) -> bool:
    if parts[-1] in ("result.json", "identity.json", "config.yaml", "failure.json", ".driver.json"):
        return len(parts) <= depth + 1
    return parts[-2:-1] in (["progress"], ["ledger"]) and len(parts) <= depth + 2
