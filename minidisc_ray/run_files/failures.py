"""Why a trial failed: one sentence in ``failure.json``, kept until the trial finishes or is tried again."""

from pathlib import Path

from minidisc_ray.configs.redact import redact
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.writing import read_json
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL

_FILE = "failure.json"


def trial_folder(run_folder: Path, trial: str) -> Path:
    """A trial's folder: the run's own for a single trial, and for the stages that trials share."""
    return run_folder if trial in (MAIN_TRIAL, SHARED_TRIAL) else run_folder / "trials" / trial


def write_failure(storage: Storage, run_folder: Path, trial: str, reason: str) -> None:
    """Record why a trial failed."""
    storage.write_json(trial_folder(run_folder, trial) / _FILE, {"reason": redact(reason)})


def read_failure(run_folder: Path, trial: str) -> str | None:
    """Why a trial failed, in one sentence; None where it did not."""
    found = read_json(trial_folder(run_folder, trial) / _FILE)
    reason = found.get("reason") if isinstance(found, dict) else None
    return str(reason) if reason else None


def remove_failure(storage: Storage, run_folder: Path, trial: str) -> None:
    """Remove what :func:`write_failure` wrote."""
    storage.remove(trial_folder(run_folder, trial) / _FILE)
