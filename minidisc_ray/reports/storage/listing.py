"""Every run and study under a storage root, one line each: ``minidisc ls``."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from minidisc_ray.accounting.cost import held_by_stage
from minidisc_ray.accounting.ledger import read_attempts
from minidisc_ray.driver.driver import DRIVER_FILE, Driver, driver_of, seems_alive, unreadable_driver
from minidisc_ray.files.links import links_below
from minidisc_ray.files.reading import open_regular
from minidisc_ray.files.writing import read_json
from minidisc_ray.reports.storage.status import RunStatus, look_at, run_folders, trials_not_finished, written_at
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.schedules.plan import MAIN_TRIAL

State = Literal["finished", "running", "waiting", "interrupted", "stale", "failed", "not begun", "damaged"]
# Any of these makes a folder a run's, so that one that has lost the others is listed and not hidden.
_RUN_FILES = ("identity.json", "config.yaml", "result.json", "ledger.jsonl", "progress")
_STUDY_FILES = ("study.yaml", "study.json", "ray", ".driver.json")


@dataclass(frozen=True)
class Listed:
    """One run or study of a storage root.

    Attributes:
        name: of its folder.
        kind: a study's own numbers are those of its runs, which have lines of their own.
        state: ``waiting`` has a driver and has not begun; ``stale`` calls itself running and gives no sign of life.
        method: the schedule's kind.
        metric: the student's on the validation rows; of a run that is not finished, its best on the selection rows.
        device_hours: held by its stages so far, teacher fine-tuning apart as in results.
        changed_at: when the youngest of its files was written, in seconds since the epoch.
        driver: who drives it now, as user@host and pid.
        size_bytes: of all its files.
        note: why it failed, or what is damaged.
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
    device_hours: float | None = None
    changed_at: float = 0.0
    driver: str | None = None
    size_bytes: int = 0
    note: str = ""


def listing(place: Path) -> list[Listed]:
    """A run, or a storage's runs and studies, the last changed first; what cannot be read is a line that says so.

    Raises:
        UserError: if there is no such folder.
    """
    found = [listed for folder in run_folders(place) if (listed := _listed(folder)) is not None]
    return sorted(found, key=lambda entry: (-entry.changed_at, entry.name))


def _listed(folder: Path) -> Listed | None:
    if folder.is_symlink():
        return Listed(folder.name, "run", "damaged", changed_at=folder.lstat().st_mtime, note="is a link; remove it")
    try:
        with os.scandir(folder) as entries:
            inside = {entry.name for entry in entries}
    except NotADirectoryError:
        return None
    except OSError as error:
        return Listed(folder.name, "run", "damaged", note=f"cannot be read ({error.strerror})")
    is_run = not inside.isdisjoint(_RUN_FILES)
    if not is_run and not (folder.name.startswith("study-") and not inside.isdisjoint(_STUDY_FILES)):
        return None
    size, changed_at = _size_and_time(folder)
    driver = driver_of(folder)
    if driver is not None and not seems_alive(driver, time.time()):
        driver = None
    try:
        entry = _run(folder, driver) if is_run else _study(folder, driver)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        entry = Listed(folder.name, "run" if is_run else "study", "damaged", note=f"cannot be read ({error})")
    if (link := next(links_below(folder), None)) is not None:
        entry = replace(entry, state="damaged", note=f"{link.relative_to(folder)} is a link; remove it")
    if driver is None and not entry.note and DRIVER_FILE in inside and (flaw := unreadable_driver(folder)) is not None:
        entry = replace(entry, note=f"who drives it cannot be read ({flaw})")
    title = f"{driver.user}@{driver.host} {driver.pid}" if driver is not None else None
    return replace(entry, changed_at=changed_at, size_bytes=size, driver=title, note=" ".join(entry.note.split())[:300])


def _run(folder: Path, driver: Driver | None) -> Listed:
    statuses, result = look_at(folder)
    if result is not None:
        ended = trials_not_finished(result)
        return Listed(
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
            device_hours=result.cost.device_hours,
            note=f"of {len(result.trials)} trials {', '.join(ended)}" if ended else "",
        )
    state = _state(statuses, driver)
    reason = read_failure(folder, MAIN_TRIAL)
    if state == "interrupted" and reason is not None:
        # A new attempt takes the reason back first, so it is what ended this one.
        state = "failed"
    note = (reason or statuses[0].stage) if state == "failed" else ""
    identity = read_json(folder / "identity.json")
    if not isinstance(identity, dict):
        state, note = "damaged", "identity.json cannot be read"
    elif (folder / "result.json").exists() and state != "running":
        state, note = "damaged", "result.json cannot be read"
    metrics = [(entry.metric, entry.metric_name) for entry in statuses if entry.metric is not None]
    best = max(metrics, key=lambda found: found[0], default=None)
    ledger = folder / "ledger.jsonl"
    if ledger.exists():
        # A pipe in its place would be waited for.
        open_regular(ledger).close()
    held = held_by_stage(read_attempts(ledger))
    hours = sum(stage.device_hours for name, stage in held.items() if name != "teacher")
    return Listed(
        folder.name,
        "run",
        state,
        **_facts(identity if isinstance(identity, dict) else {}),
        metric_name=best[1] if best else None,
        metric=best[0] if best else None,
        metric_split="selection" if best else None,
        device_hours=hours if held else None,
        note=note,
    )


def _state(statuses: Sequence[RunStatus], driver: Driver | None) -> State:
    """Of a run without a result, from its trials and whether it has a driver."""
    found = {entry.status for entry in statuses}
    if driver is not None:
        return "waiting" if found == {"waiting"} else "running"
    states: tuple[State, ...] = ("running", "stale", "interrupted", "failed")
    for state in states:
        if state in found:
            return state
    return "not begun" if found == {"waiting"} else "interrupted"


def _facts(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was to do, from its identity; of JSON and not of YAML, which takes fifty times as long."""

    def part(key: str) -> Mapping[str, Any]:
        found = identity.get(key)
        return found if isinstance(found, dict) else {}

    schedule, task, seed, scale = part("schedule"), part("task"), identity.get("seed"), part("student")
    percent = scale.get("scale_percent")
    method = "matched" if schedule.get("match") else schedule.get("kind")
    return {
        "method": str(method) if method else None,
        "task": str(task.get("name") or task.get("kind")) if task else None,
        "scale_percent": percent if isinstance(percent, int) else None,
        "seed": seed if isinstance(seed, int) else None,
    }


def _study(folder: Path, driver: Driver | None) -> Listed:
    if driver is not None:
        return Listed(folder.name, "study", "running")
    if not (folder / "study.json").exists():
        return Listed(folder.name, "study", "interrupted")
    found = read_json(folder / "study.json")
    if not isinstance(found, dict):
        return Listed(folder.name, "study", "damaged", note="study.json cannot be read")
    failed, unfinished = len(found["failed"]), len(found["unfinished"])
    if unfinished:
        return Listed(folder.name, "study", "interrupted", note=f"{unfinished} runs not finished, {failed} failed")
    return Listed(folder.name, "study", "failed" if failed else "finished", note=f"{failed} runs failed" * bool(failed))


def _size_and_time(folder: Path) -> tuple[int, float]:
    """Bytes of all files below a folder, and when the youngest was written; what vanishes meanwhile does not count."""
    size, youngest = 0, 0.0
    young = [os.fspath(folder)]
    while young:
        try:
            with os.scandir(young.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        young.append(entry.path)
                        continue
                    stat = entry.stat(follow_symlinks=False)
                    size += stat.st_size
                    # A driver's mark changes while nothing else does, and a link says nothing of what it leads to.
                    if not entry.name.startswith(".") and not entry.is_symlink():
                        youngest = max(youngest, stat.st_mtime)
        except OSError:
            continue
    return size, youngest or written_at(folder) or 0.0
