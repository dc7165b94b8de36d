"""Runs that are kept in a bucket: what is fetched to this node, and when. Nothing here happens to a local storage.

The driver decides from records, results and ledgers, and fetches no model but the one that it hands out; a worker
fetches what its own trial goes on from.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.storage import SHARED_FOLDER
from minidisc_ray.files.places import PlaceError, is_uri, place_of
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import reason_of
from minidisc_ray.files.writing import read_json
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL

_CHECKPOINTS = {"newest", "before", "best", "best-before"}
_NOT_SMALL = {"model", *_CHECKPOINTS}
# Folders of a run itself; a stage may have the same name.
_NOT_OF_DRIVER = ("student/", "family/", "ray/", "tensorboard/")
# A live driver's own file is its own; a request to stop is looked for by itself.
_OWN = {".driver.json", ".stop.json"}


def open_storage(place: str | Path) -> Storage:
    """The storage of a recipe, or of a folder or URI that a user gives; nothing waits for it yet.

    Raises:
        UserError: if it is nothing that runs can be kept in.
    """
    return _opened(place, "storage: ")


def probe_bucket(storage: Storage) -> None:
    """Write and remove an object, before anything is started for nothing.

    Raises:
        UserError: if that fails, saying why.
    """
    with _user_errors("storage: "):
        storage.probe()


def fetch_run(storage: Storage, folder: Path, is_exclusive: bool = False) -> None:
    """Fetch what a driver decides from: everything of a run but models, checkpoints and logs.

    Args:
        storage: that the run is kept in.
        folder: of the run.
        is_exclusive: this driver alone works on it, so what was never sent is removed here.

    Raises:
        UserError: if it cannot be fetched.
    """
    with _user_errors("storage: "):
        storage.fetch(folder, lambda name: _is_small(name) and not name.startswith(_NOT_OF_DRIVER), is_exclusive)
        # Without it there the run is not finished, whatever a killed driver left here.
        storage.fetch_file(folder / "result.json")


def fetch_records(storage: Storage, *folders: Path) -> None:
    """Fetch records, scores and predictions of stages and shared artifacts, without their models."""
    for folder in folders:
        storage.fetch(folder, _is_small)


def fetch_for_trial(storage: Storage, run_folder: Path, trial: str, artifacts: tuple[Path, ...]) -> None:
    """Fetch what a trial goes on from: shared artifacts, finished stages, newest checkpoints.

    Args:
        storage: that the run is kept in.
        run_folder: of its run.
        trial: its name.
        artifacts: the folders of what the run shares with others.
    """
    for folder in artifacts:
        storage.fetch(folder)
    is_of_run = trial in (MAIN_TRIAL, SHARED_TRIAL)
    storage.fetch(run_folder / "stages", is_exclusive=is_of_run)
    # What comes after all the trials chooses among them.
    storage.fetch(run_folder / "trials", lambda name: name.split("/")[-1] == "record.json")
    if not is_of_run:
        storage.fetch(run_folder / "trials" / trial, is_exclusive=True)
    storage.fetch(run_folder / "ledger")
    storage.fetch(run_folder / "history")


def fetch_model_folder(place: str | Path) -> Path:
    """Fetch one model's folder, a student's for instance; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place)
    storage = _opened(place)
    with _user_errors():
        storage.fetch_sealed(storage.root)
    return storage.root


def fetch_folders(place: str | Path, *names: str) -> Path:
    """Fetch a run's or a model's own files, and some folders in it; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    storage = _opened(place)
    with _user_errors():
        storage.fetch(storage.root, lambda name: "/" not in name or name.split("/")[0] in names)
    return storage.root


def fetch_models(place: str | Path) -> Path:
    """Fetch all models of a run, its teacher among them, or one model's folder; returns where it lies.

    Raises:
        UserError: if the place is none, or cannot be read.
    """
    if not is_uri(place):
        return Path(place)
    storage = _opened(place)
    folder = storage.root
    with _user_errors():
        storage.fetch(folder, lambda name: _is_measured(name.split("/")))
        uses = read_json(folder / "shared.json")
        for use in uses if isinstance(uses, list) else []:
            if re.fullmatch(r"teacher-[0-9a-z]+", str(use)):
                whole = _opened(place_of(folder.parent))
                whole.fetch(folder.parent / SHARED_FOLDER / str(use) / "model")
    return folder


def fetch_summaries(place: str | Path, depth: int = 1) -> Path:
    """Fetch what ``status`` and ``compare`` show of a run or of all runs of a storage; returns where it lies.

    Raises:
        UserError: if the place is no storage, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    storage = open_storage(place)
    try:
        storage.fetch(storage.root, lambda name: _is_shown(name.split("/"), depth))
    except OSError as error:
        raise UserError(f"storage: {place} cannot be read ({reason_of(error)})") from error
    return storage.root


@contextmanager
def _user_errors(key: str = "") -> Iterator[None]:
    """What a storage refuses, as one sentence for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{key}{error}") from error


def _opened(place: str | Path, key: str = "") -> Storage:
    try:
        return Storage(place)
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
