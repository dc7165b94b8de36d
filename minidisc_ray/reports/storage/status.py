"""Status of the runs in a storage: of live runs from their progress files, of finished runs from their results."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import is_uri, place_of
from minidisc_ray.reports.held import HeldHours, held_by_result, held_by_trial
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.progress import Progress, is_stale, read_progress
from minidisc_ray.run_files.result import RunResult, load_result
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL

T = TypeVar("T")

_STALE_SECONDS = 60.0


@dataclass(frozen=True)
class RunStatus:
    """Status of one trial; a finished run has one entry for all its trials.

    A run without progress files is waiting; one whose progress files are no longer updated is stale. The metric is on
    the selection rows while the run is live, and on the validation rows once it is finished. Hours are those that the
    trial held so far, as in :class:`minidisc_ray.reports.held.HeldHours`.
    """

    run: str
    trial: str
    status: Literal["waiting", "running", "finished", "failed", "interrupted", "stale"]
    stage: str
    step: str
    metric_name: str | None
    metric: float | None
    metric_split: Literal["selection", "validation"]
    age_seconds: float
    held_hours: float | None = None
    teacher_hours: float | None = None
    hours_unit: str | None = None


def status(place: Path) -> list[RunStatus]:
    """The status of each trial of a run, or of all runs in a storage by name; unreadable runs do not hide others.

    Raises:
        UserError: if there is no such folder.
    """
    return [entry for folder in run_folders(place) for entry in _statuses(folder)]


def run_folders(place: Path) -> list[Path]:
    """The run's folder itself, or the folders of a storage by name, without those that runs share.

    Raises:
        UserError: if there is no such folder.
    """
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError as error:
        raise _unreadable(place) from error
    if not {"identity.json", "config.yaml"}.isdisjoint(names):
        return [place.absolute()]
    # Underscores and dots mark what is shared between runs, such as caches.
    return [place / name for name in names if not name.startswith(("_", "."))]


def _unreadable(storage: Path) -> UserError:
    """The error for a storage that cannot be read."""
    if is_uri(place := place_of(storage)):
        return UserError(f"storage: there is nothing in {place}; give the bucket and prefix that runs were written to")
    return UserError(f"storage: {place} is not a folder that can be read; give the folder that runs were written to")


def _statuses(folder: Path) -> list[RunStatus]:
    if folder.is_symlink():
        return [_without_progress(folder.name, "failed", "is a link", time.time())]
    try:
        return read_status(folder)[0] if _is_run(folder) else []
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        return [_without_progress(folder.name, "stale", reason, modified_at(folder) or time.time())]


def _is_run(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return (folder / "config.yaml").exists() or (folder / "progress").is_dir()


def read_status(folder: Path) -> tuple[list[RunStatus], RunResult | None]:
    """The status of a run's trials, and its result if it is finished; ``stage`` says which files are damaged."""
    live = _read_or_none(read_progress, folder) or []
    reason = read_failure(folder, MAIN_TRIAL)
    finished_at = modified_at(folder / "result.json")
    if finished_at is not None:
        result = _read_or_none(load_result, folder)
        # A run that was started again over an older result is live.
        was_restarted = any(entry.status == "running" and entry.updated_at > finished_at for entry in live)
        if result is not None and not was_restarted:
            return [_finished(folder.name, result, finished_at)], result
        if result is None and not live:
            return [_without_progress(folder.name, "failed", "result.json cannot be read", finished_at)], None
    if live:
        held = _read_or_none(held_by_trial, folder) or {}
        return [_live(folder.name, entry, held.get(entry.trial), reason) for entry in live], None
    changed_at = modified_at(folder / "config.yaml") or modified_at(folder) or time.time()
    if reason is not None:
        return [_without_progress(folder.name, "failed", reason, changed_at)], None
    progress = folder / "progress"
    if progress.is_file() or any(progress.glob("*.json")):
        return [_without_progress(folder.name, "stale", "its progress cannot be read", changed_at)], None
    # It may wait in a queue for hours: only a run that has started and stopped updating is stale.
    return [_without_progress(folder.name, "waiting", "not begun", changed_at)], None


def _finished(run: str, result: RunResult, finished_at: float) -> RunStatus:
    trials = f"{len(result.trials)} trials" if len(result.trials) > 1 else "main"
    return RunStatus(
        run=run,
        trial=", ".join([trials, *unfinished_trials_text(result)]),
        status="finished",
        stage="" if result.decision is None else result.decision.summary,
        step="",
        metric_name=result.primary_metric,
        metric=result.student.validation_metrics.get(result.primary_metric),
        metric_split="validation",
        **asdict(held_by_result(result.cost)),
        age_seconds=_age(finished_at),
    )


def unfinished_trials_text(result: RunResult) -> list[str]:
    """Numbers of trials that failed and that ended early: ``2 failed``; a status that no trial has is left out."""
    counts = Counter(trial.status for trial in result.trials)
    return [f"{counts[ending]} {ending}" for ending in ("failed", "ended early") if counts[ending]]


def _live(run: str, progress: Progress, held: HeldHours | None, reason: str | None) -> RunStatus:
    stage = f"{progress.stage_index}/{progress.num_stages} {progress.stage}"
    # A new attempt deletes the reason first, so these stages ended without a last progress.
    has_failed = reason is not None and progress.trial in (MAIN_TRIAL, SHARED_TRIAL) and progress.status == "running"
    return RunStatus(
        run=run,
        trial=progress.trial,
        status="failed" if has_failed else "stale" if is_stale(progress, _STALE_SECONDS) else progress.status,
        stage=f"{stage}: {reason}" if has_failed else stage,
        step=f"{progress.step}/{progress.num_steps}" if progress.num_steps else "",
        metric_name=progress.metric_name,
        metric=progress.metric,
        metric_split="selection",
        **({} if held is None else asdict(held)),
        age_seconds=_age(progress.updated_at),
    )


def _without_progress(run: str, state: Literal["waiting", "failed", "stale"], stage: str, at: float) -> RunStatus:
    return RunStatus(run, "main", state, stage, "", None, None, "selection", _age(at))


def _read_or_none(read: Callable[[Path], T], folder: Path) -> T | None:
    try:
        return read(folder)
    except (OSError, ValueError, RecursionError):
        return None


def modified_at(path: Path) -> float | None:
    """When a file or folder was last changed; None if it cannot be read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _age(at: float) -> float:
    return max(0.0, time.time() - at)
