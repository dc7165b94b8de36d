"""Every run and study under a storage root, one line each: ``minidisc ls``."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.driver.driver import DRIVER_FILE, Driver, driver_of, seems_alive, unreadable_driver
from minidisc_ray.files.links import links_below
from minidisc_ray.files.writing import read_json
from minidisc_ray.reports.held import HeldHours, held_by_result, held_by_run, held_by_trial
from minidisc_ray.reports.storage.status import RunStatus, modified_at, read_status, run_folders, unfinished_trials_text
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.schedules.plan import MAIN_TRIAL

State = Literal["finished", "running", "waiting", "interrupted", "stale", "failed", "not begun", "damaged"]
# Any one of these makes a folder a run, so that a run that has lost the others is still listed.
_RUN_FILES = ("identity.json", "config.yaml", "result.json", "ledger.jsonl", "progress")
_STUDY_FILES = ("study.yaml", "study.json", "ray", ".driver.json")


@dataclass(frozen=True)
class StorageEntry:
    """One run or study of a storage root.

    Attributes:
        name: of its folder.
        kind: a study has no numbers here; each of its runs is an entry.
        state: ``waiting`` has a driver and has not started; ``stale`` says that it runs but no longer updates.
        method: the schedule's kind.
        metric: the student's on the validation rows; of a run that is not finished, its best on the selection rows.
        held_hours: useful, lost and idle device-hours of all its attempts so far, teacher fine-tuning included.
        teacher_hours: the part of them that teacher fine-tuning took.
        hours_unit: see :class:`minidisc_ray.reports.held.HeldHours`.
        changed_at: when its newest file was written, in seconds since the epoch.
        driver: the process that drives it now, as user@host and pid.
        size_bytes: of all its files.
        note: why it failed, what is damaged, or what ``schedule.kind: auto`` decided.
    """

    name: str
    kind: Literal["run", "study"]
    state: State
    method: str | None = None
    task: str | None = None
    scale_percent: int | None = None
    seed: int | None = None
    metric_name: str | None = None
    metric: float | None = None
    metric_split: str | None = None
    held_hours: float | None = None
    teacher_hours: float | None = None
    hours_unit: str | None = None
    changed_at: float = 0.0
    driver: str | None = None
    size_bytes: int = 0
    note: str = ""


def listing(place: Path) -> list[StorageEntry]:
    """The run of a folder, or the runs and studies of a storage, last changed first; unreadable ones are ``damaged``.

    Raises:
        UserError: if there is no such folder.
    """
    found = [entry for folder in run_folders(place) if (entry := _entry(folder)) is not None]
    return sorted(found, key=lambda entry: (-entry.changed_at, entry.name))


def _entry(folder: Path) -> StorageEntry | None:
    """The entry of a folder; None if it is neither a run nor a study."""
    if folder.is_symlink():
        changed_at = folder.lstat().st_mtime
        return StorageEntry(folder.name, "run", "damaged", changed_at=changed_at, note="is a link; remove it")
    try:
        names = {path.name for path in folder.iterdir()}
    except NotADirectoryError:
        return None
    except OSError as error:
        return StorageEntry(folder.name, "run", "damaged", note=f"cannot be read ({error.strerror})")
    is_run = not names.isdisjoint(_RUN_FILES)
    if not is_run and not (folder.name.startswith("study-") and not names.isdisjoint(_STUDY_FILES)):
        return None
    size, changed_at = _size_and_time(folder)
    driver = driver_of(folder)
    if driver is not None and not seems_alive(driver, time.time()):
        driver = None
    try:
        entry = _run_entry(folder, driver) if is_run else _study_entry(folder, driver)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        entry = StorageEntry(folder.name, "run" if is_run else "study", "damaged", note=f"cannot be read ({error})")
    if (link := next(links_below(folder), None)) is not None:
        entry = replace(entry, state="damaged", note=f"{link.relative_to(folder)} is a link; remove it")
    if driver is None and not entry.note and DRIVER_FILE in names and (flaw := unreadable_driver(folder)) is not None:
        entry = replace(entry, note=f"its driver cannot be read ({flaw})")
    owner = f"{driver.user}@{driver.host} {driver.pid}" if driver is not None else None
    return replace(entry, changed_at=changed_at, size_bytes=size, driver=owner, note=" ".join(entry.note.split())[:300])


def _run_entry(folder: Path, driver: Driver | None) -> StorageEntry:
    statuses, result = read_status(folder)
    if result is not None:
        ended = unfinished_trials_text(result)
        decision = "" if result.decision is None else result.decision.summary
        return StorageEntry(
            folder.name,
            "run",
            "finished",
            method=result.method,
            task=result.task,
            scale_percent=result.student.scale_percent,
            seed=result.seed,
            metric_name=result.primary_metric,
            metric=result.student.validation_metrics[result.primary_metric],
            metric_split="validation",
            **_hours(held_by_result(result.cost)),
            note=f"of {len(result.trials)} trials {', '.join(ended)}" if ended else decision,
        )
    state = _state(statuses, driver)
    reason = read_failure(folder, MAIN_TRIAL)
    if state == "interrupted" and reason is not None:
        # A new attempt deletes the reason first, so this reason ended the last one.
        state = "failed"
    note = (reason or statuses[0].stage) if state == "failed" else ""
    identity = read_json(folder / "identity.json")
    if not isinstance(identity, dict):
        state, note = "damaged", "identity.json cannot be read"
    elif (folder / "result.json").exists() and state != "running":
        state, note = "damaged", "result.json cannot be read"
    metrics = [(entry.metric, entry.metric_name) for entry in statuses if entry.metric is not None]
    best = max(metrics, key=lambda found: found[0], default=None)
    return StorageEntry(
        folder.name,
        "run",
        state,
        **_planned(folder, identity if isinstance(identity, dict) else {}),
        metric_name=best[1] if best else None,
        metric=best[0] if best else None,
        metric_split="selection" if best else None,
        **_hours(held_by_run(held_by_trial(folder))),
        note=note,
    )


def _hours(held: HeldHours | None) -> dict[str, Any]:
    return {} if held is None else asdict(held)


def _state(statuses: Sequence[RunStatus], driver: Driver | None) -> State:
    """The state of a run without a result, from its trials and its driver."""
    found = {entry.status for entry in statuses}
    if driver is not None:
        return "waiting" if found == {"waiting"} else "running"
    states: tuple[State, ...] = ("running", "stale", "interrupted", "failed")
    for state in states:
        if state in found:
            return state
    return "not begun" if found == {"waiting"} else "interrupted"


def _planned(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """A run's method, task, scale and seed, from its identity: JSON is read fifty times as fast as the YAML config."""

    def part(key: str) -> Mapping[str, Any]:
        found = identity.get(key)
        return found if isinstance(found, dict) else {}

    schedule, task, seed = part("schedule"), part("task"), identity.get("seed")
    percent = part("student").get("scale_percent")
    method = "matched" if schedule.get("match") else schedule.get("kind")
    return {
        "method": str(method) if method else None,
        "task": _task_name(folder, task) if task else None,
        "scale_percent": percent if isinstance(percent, int) else None,
        "seed": seed if isinstance(seed, int) else None,
    }


def _task_name(folder: Path, task: Mapping[str, Any]) -> str:
    """The name of a run's task; a user's own one is not in the identity, as it changes no number."""
    if (name := task.get("name")) or task.get("kind") == "builtin":
        return str(name or task["kind"])
    try:
        return load_recipe(folder / "config.yaml").task_name
    except UserError:
        return str(task.get("kind"))


def _study_entry(folder: Path, driver: Driver | None) -> StorageEntry:
    if driver is not None:
        return StorageEntry(folder.name, "study", "running")
    if not (folder / "study.json").exists():
        return StorageEntry(folder.name, "study", "interrupted")
    found = read_json(folder / "study.json")
    if not isinstance(found, dict):
        return StorageEntry(folder.name, "study", "damaged", note="study.json cannot be read")
    failed, unfinished = len(found["failed"]), len(found["unfinished"])
    if unfinished:
        note = f"{unfinished} runs not finished, {failed} failed"
        return StorageEntry(folder.name, "study", "interrupted", note=note)
    if failed:
        return StorageEntry(folder.name, "study", "failed", note=f"{failed} runs failed")
    return StorageEntry(folder.name, "study", "finished")


def _size_and_time(folder: Path) -> tuple[int, float]:
    """Bytes of all files below a folder, and the time of the newest; files that vanish meanwhile are not counted."""
    size, newest = 0, 0.0
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    stat = entry.stat(follow_symlinks=False)
                    size += stat.st_size
                    # A driver's hidden file changes while the run does not, and a link's time is not its target's.
                    if not entry.name.startswith(".") and not entry.is_symlink():
                        newest = max(newest, stat.st_mtime)
        except OSError:
            continue
    return size, newest or modified_at(folder) or 0.0
