"""Which files of runs in a bucket are fetched to this node, and when; does nothing for a local storage.

A driver fetches records, results and ledgers, but no models; a worker fetches the files that its trial resumes from.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.storage import SHARED_FOLDER
from minidisc_ray.files.places import PlaceError, is_uri, place_of, place_text
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import reason_of
from minidisc_ray.files.writing import read_json
from minidisc_ray.run_files.unfinished import unfinished_error
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL

_STUDENT = "student"  # in a run's folder
_CHECKPOINTS = {"newest", "before", "best", "best-before"}
_LARGE = {"model", *_CHECKPOINTS}
# Only at the top of a run's folder: a stage may have the same name.
_NOT_FOR_DRIVER = (f"{_STUDENT}/", "family/", "ray/", "tensorboard/")
# Written and fetched by the lease alone.
_DRIVER_FILES = {".driver.json", ".stop.json"}


def open_storage(place: str | Path) -> Storage:
    """Open the storage of a recipe, or one that a user gives as a folder or URI; it does not retry yet.

    Raises:
        UserError: if the place is no path and no supported URI.
    """
    return _open(place, "storage: ")


def probe_bucket(storage: Storage) -> None:
    """Check that a bucket can be written, before a cluster is started.

    Raises:
        UserError: if it cannot, with the reason.
    """
    with _as_user_errors("storage: "):
        storage.probe()


def fetch_run(storage: Storage, folder: Path, is_exclusive: bool = False) -> None:
    """Fetch what a driver needs: all files of a run but models, checkpoints and logs.

    Args:
        storage: that the run is kept in.
        folder: of the run.
        is_exclusive: this driver alone works on the run, so local files that the bucket lacks are removed.

    Raises:
        UserError: if it cannot be fetched.
    """
    with _as_user_errors("storage: "):
        storage.fetch(folder, lambda name: _is_small(name) and not name.startswith(_NOT_FOR_DRIVER), is_exclusive)
        # Removed here where the bucket lacks it: a driver that was killed before sending it did not finish the run.
        storage.fetch_file(folder / "result.json")


def fetch_records(storage: Storage, *folders: Path) -> None:
    """Fetch records, scores and predictions of stages and shared artifacts, without their models."""
    for folder in folders:
        storage.fetch(folder, _is_small)


def fetch_for_trial(storage: Storage, run_folder: Path, trial: str, artifacts: tuple[Path, ...]) -> None:
    """Fetch what a trial resumes from: shared artifacts, finished stages, newest checkpoints.

    Args:
        storage: that the run is kept in.
        run_folder: of the trial's run.
        trial: its name.
        artifacts: folders of artifacts that the run shares with other runs.
    """
    for folder in artifacts:
        storage.fetch(folder)
    is_of_run = trial in (MAIN_TRIAL, SHARED_TRIAL)
    storage.fetch(run_folder / "stages", is_exclusive=is_of_run)
    # The last trial of a sweep chooses among the others by their records.
    storage.fetch(run_folder / "trials", lambda name: name.split("/")[-1] == "record.json")
    if not is_of_run:
        storage.fetch(run_folder / "trials" / trial, is_exclusive=True)
    storage.fetch(run_folder / "ledger")
    storage.fetch(run_folder / "history")


def fetch_student(place: str | Path) -> Path:
    """Fetch a model's folder, or the student of a run's folder; returns the model's local path.

    Raises:
        UserError: if the URI is not supported, or cannot be read; or if the run is not finished.
    """
    folder = fetch_folders(place, _STUDENT)
    with suppress(OSError):  # of a path that no file system can have, which loading reports
        if not (folder / "config.json").exists() and (folder / _STUDENT / "config.json").exists():
            folder = folder / _STUDENT
        of_run = folder.parent if folder.name == _STUDENT else folder
        if not (folder / "config.json").exists() and (unfinished := unfinished_error(of_run)) is not None:
            raise unfinished
    if is_uri(place):
        with _as_user_errors():
            # A copy on this node that was damaged since is fetched again.
            _open(place).fetch_sealed(folder)
    return folder


def fetch_folders(place: str | Path, *names: str) -> Path:
    """Fetch the files at the top of a run's or a model's folder, and the folders named; returns the local path.

    Raises:
        UserError: if the URI is not supported, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    storage = _open(place)
    with _as_user_errors():
        storage.fetch(storage.root, lambda name: "/" not in name or name.split("/")[0] in names)
    return storage.root


def fetch_models(place: str | Path) -> Path:
    """Fetch all models of a run, its teacher included, or one model's folder; returns the local path.

    Raises:
        UserError: if the URI is not supported, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    storage = _open(place)
    folder = storage.root
    with _as_user_errors():
        storage.fetch(folder, lambda name: _is_model_file(name.split("/")))
        uses = read_json(folder / "shared.json")
        for use in uses if isinstance(uses, list) else []:
            if re.fullmatch(r"teacher-[0-9a-z]+", str(use)):
                whole = _open(place_of(folder.parent))
                whole.fetch(folder.parent / SHARED_FOLDER / str(use) / "model")
    return folder


def fetch_summaries(place: str | Path, depth: int = 1) -> Path:
    """Fetch what ``status`` and ``compare`` show; returns the local path.

    Args:
        place: a run (``depth`` 0), or a storage with runs (``depth`` 1).
        depth: how many folders below the place a run lies.

    Raises:
        UserError: if the URI is not supported, or cannot be read.
    """
    if not is_uri(place):
        return Path(place).expanduser()
    storage = open_storage(place)
    try:
        storage.fetch(storage.root, lambda name: _is_summary(name.split("/"), depth))
    except OSError as error:
        raise UserError(f"storage: {place_text(place)} cannot be read ({reason_of(error)})") from error
    return storage.root


@contextmanager
def _as_user_errors(key: str = "") -> Iterator[None]:
    """Turn an error of the storage into a :class:`UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{key}{error}") from error


def _open(place: str | Path, key: str = "") -> Storage:
    try:
        return Storage(place)
    except PlaceError as error:
        raise UserError(f"{key}{error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}{str(place)[:80]!r} is not a path ({error})") from error


def _is_small(name: str) -> bool:
    parts = name.split("/")
    return not _LARGE.intersection(parts) and parts[-1] not in _DRIVER_FILES


def _is_model_file(parts: list[str]) -> bool:
    """Whether a file lies at the top of a run or model folder, in its student, or in a model of one of its stages."""
    return len(parts) == 1 or parts[0] == _STUDENT or (parts[0] in ("stages", "trials") and parts[-2] == "model")


def _is_summary(parts: list[str], depth: int) -> bool:
    if parts[-1] in ("result.json", "identity.json", "config.yaml", "failure.json", ".driver.json"):
        return len(parts) <= depth + 1
    return parts[-2:-1] in (["progress"], ["ledger"]) and len(parts) <= depth + 2
