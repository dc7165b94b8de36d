"""Unfinished trials of runs, as items for the queue."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from minidisc_ray.pipeline.early_end import verdicts
from minidisc_ray.pipeline.finish import is_finished, is_trial_finished
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.policies.queue import Item
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.fetching import fetch_records
from minidisc_ray.run_files.records import read_record
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL, ImportanceStep

Which = Literal["new", "failed", "all"]


def items_of(runs: Sequence[PreparedRun], which: Which = "new") -> list[Item]:
    """List the trials to execute, shared stages before the trials that need them; reads files only, needs no cluster.

    Args:
        runs: checked recipes, each once.
        which: ``new`` skips what failed before, ``failed`` takes only runs in which something failed, ``all`` takes
            both.
    """
    if len(runs) == 1 and not runs[0].plan.is_sweep:
        (run,) = runs
        return [] if is_finished(run) else _single_item(run, which)
    items: list[Item] = []
    teachers: dict[Path, str] = {}
    importances: dict[Path, str] = {}
    for run in _makers_first(runs):
        if is_finished(run):
            continue
        failed = {trial.name for trial in run.plan.all_trials() if read_failure(run.run_folder, trial.name)}
        failed |= {name for name in (MAIN_TRIAL, SHARED_TRIAL) if read_failure(run.run_folder, name)}
        # A failure of the shared stages, or of the run as a whole, stops all its trials.
        is_stopped = bool(failed & {MAIN_TRIAL, SHARED_TRIAL})
        if (which == "failed" and not failed) or (which == "new" and is_stopped):
            continue
        items += _items_of_run(run, failed if which == "new" else set(), teachers, importances)
    return items


def _single_item(run: PreparedRun, which: Which) -> list[Item]:
    """The item of a single trial, which makes teacher and importance itself; none if it is over or to be skipped."""
    (trial,) = run.plan.trials
    has_failed = any(read_failure(run.run_folder, name) for name in (MAIN_TRIAL, SHARED_TRIAL))
    if is_trial_finished(run, trial) or (which == "new" and has_failed) or (which == "failed" and not has_failed):
        return []
    return [Item(run, trial.name, item_title(run, trial.name), with_shared=True)]


def _makers_first(runs: Sequence[PreparedRun]) -> list[PreparedRun]:
    """Sort runs so that the first one can make the teacher and the importance for all of them.

    Runs with a sandwich come later, and runs without importance last, since they would make the teacher alone.
    """

    def place(run: PreparedRun) -> tuple[bool, bool]:
        has_importance = any(isinstance(step, ImportanceStep) for step in run.plan.shared)
        return not has_importance, bool(run.plan.before)

    return sorted(runs, key=place)


def _items_of_run(
    run: PreparedRun, skipped: set[str], teachers: dict[Path, str], importances: dict[Path, str]
) -> list[Item]:
    items: list[Item] = []
    teacher, importance = run.teacher_folder, run.importance_folder
    fetch_records(run.storage, teacher, importance)
    is_shared_there = all(read_record(run.storage, folder) is not None for folder in (teacher, importance))
    shared_title, before = item_title(run, SHARED_TRIAL), run.plan.trial(SHARED_TRIAL)
    needs: set[str] = set()
    if not is_shared_there and importance not in importances:
        known = teachers.get(teacher)
        items.append(Item(run, SHARED_TRIAL, shared_title, True, needs=frozenset({known} if known else ())))
        importances[importance] = shared_title
        teachers.setdefault(teacher, shared_title)
    if not is_shared_there:
        needs = {importances[importance]}
    if before is not None and not is_trial_finished(run, before) and shared_title not in needs:
        items.append(Item(run, SHARED_TRIAL, shared_title, needs=frozenset(needs)))
        needs = needs | {shared_title}
    planned = (*run.plan.probes, *run.plan.trials)
    trials = [t for t in planned if not is_trial_finished(run, t) and t.name not in skipped]
    gate = partial(verdicts, run) if run.plan.probes else None
    items += [Item(run, trial.name, item_title(run, trial.name), needs=frozenset(needs), gate=gate) for trial in trials]
    last = run.plan.after
    if last is not None and not is_trial_finished(run, last) and last.name not in skipped:
        follows = frozenset(item_title(run, trial.name) for trial in trials)
        items.append(Item(run, last.name, item_title(run, last.name), needs=frozenset(needs), follows=follows))
    return items


def item_title(run: PreparedRun, trial: str) -> str:
    """A trial's name in Tune, its folders and the dashboard."""
    return run.name if trial == MAIN_TRIAL else f"{run.name}.{trial}"
