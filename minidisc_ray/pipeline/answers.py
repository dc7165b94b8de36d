"""A study's finished runs by teacher, task and scale, with what their models answered row by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidisc_ray.evaluation.choices import Sweep, SweepTrial
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions
from minidisc_ray.pipeline.predictions import SELECTION, VALIDATION, read_labels, read_predictions
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.result import RunResult
from minidisc_ray.pipeline.shared import teacher_folder
from minidisc_ray.pipeline.study import Cell
from minidisc_ray.schedules.plan import MAIN_TRIAL


@dataclass(frozen=True)
class FinishedRun:
    """A cell of a study with its checked recipe and its result."""

    cell: Cell
    prepared: Prepared
    result: RunResult


@dataclass(frozen=True)
class RunGroup:
    """The finished runs of one teacher, task and student scale, by method and seed."""

    teacher: str | None
    scale_percent: int | None
    task: str
    rows: LabelledRows
    runs: dict[str, dict[int, FinishedRun]]

    def of(self, *kinds: str) -> dict[str, dict[int, FinishedRun]]:
        """The methods whose results are of some kinds."""
        return {name: runs for name, runs in self.runs.items() if next(iter(runs.values())).result.method in kinds}

    def students(self, method: str) -> dict[int, Predictions]:
        """What a method's students answered, by seed."""
        return {seed: _student(self.rows, run) for seed, run in self.runs[method].items()}

    def paired(self, first: str, second: str) -> tuple[dict[int, Predictions], dict[int, Predictions]]:
        """Both methods' students for the seeds that both have."""
        ours, theirs = self.students(first), self.students(second)
        common = sorted(ours.keys() & theirs.keys())
        return {seed: ours[seed] for seed in common}, {seed: theirs[seed] for seed in common}


def groups_of(runs: Sequence[FinishedRun]) -> Iterator[RunGroup]:
    """Runs that kept their answers, in the order given; others are left out.

    Raises:
        UserError: if kept answers are damaged.
    """
    places: dict[tuple[str | None, int | None, str], list[FinishedRun]] = {}
    for run in runs:
        places.setdefault((run.cell.teacher, run.cell.scale_percent, run.cell.task), []).append(run)
    for (teacher, scale, task), here in places.items():
        kept = [run for run in here if read_labels(run.prepared.run_folder) is not None and _has_student(run)]
        if not kept:
            continue
        by_method: dict[str, dict[int, FinishedRun]] = {}
        for run in kept:
            by_method.setdefault(run.cell.method, {})[run.cell.seed] = run
        yield RunGroup(teacher, scale, task, _rows(kept[0]), by_method)


def _rows(run: FinishedRun) -> LabelledRows:
    labels = read_labels(run.prepared.run_folder)
    assert labels is not None
    splits = _by_split(labels)
    if run.result.protocol == "paper":
        # The rows that select are those that score.
        del splits[SELECTION]
        return LabelledRows(run.prepared.task, splits, selection_split=run.prepared.task.validation_splits[0])
    return LabelledRows(run.prepared.task, splits)


def _by_split(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``selection/40`` and ``selection`` become selection, ``validation/SET`` becomes SET."""
    return {
        SELECTION if name.split("/")[0] == SELECTION else name.removeprefix(f"{VALIDATION}/"): array
        for name, array in arrays.items()
    }


def _predictions(rows: LabelledRows, arrays: Mapping[str, np.ndarray]) -> Predictions:
    return rows.predictions({split: found for split, found in _by_split(arrays).items() if split in rows.labels})


def _has_student(run: FinishedRun) -> bool:
    return read_predictions(run.prepared.run_folder, _winner(run), "student") is not None


def _student(rows: LabelledRows, run: FinishedRun) -> Predictions:
    found = read_predictions(run.prepared.run_folder, _winner(run), "student")
    assert found is not None
    return _predictions(rows, found)


def _winner(run: FinishedRun) -> str:
    """The trial whose student the run kept."""
    plan = run.prepared.plan
    if plan.after is not None:
        return plan.after.name
    if not plan.is_sweep:
        return MAIN_TRIAL
    kept = run.result.assistants[0].scale_percent
    return next(trial.name for trial in plan.trials if trial.assistant_percent == kept)


def sweeps_of(group: RunGroup) -> dict[int, Sweep]:
    """The runs that tried every scale in full, by seed; of several such methods the first."""
    full = [runs for name, runs in group.of("maxidisc").items() if is_exhaustive(runs)]
    if not full:
        return {}
    plain = next(iter(group.of("conventional")), None)
    conventional = group.students(plain) if plain is not None else {}
    sweeps = {}
    for seed, run in full[0].items():
        trials = {}
        for trial in run.prepared.plan.trials:
            folder = run.prepared.run_folder
            assistant, student = (read_predictions(folder, trial.name, stage) for stage in ("assistant", "student"))
            if assistant is not None and student is not None and trial.assistant_percent is not None:
                found = _predictions(group.rows, assistant), _predictions(group.rows, student)
                trials[trial.assistant_percent] = SweepTrial(*found)
        if trials:
            sweeps[seed] = Sweep(trials, _teacher(group.rows, run), conventional.get(seed))
    return sweeps


def is_exhaustive(runs: Mapping[int, FinishedRun]) -> bool:
    """Whether a method tries every scale in full: an assistant of its own and a student each."""
    plan = next(iter(runs.values())).prepared.plan
    return plan.after is None and not plan.before


def _teacher(rows: LabelledRows, run: FinishedRun) -> Predictions | None:
    found = read_predictions(teacher_folder(run.prepared), MAIN_TRIAL, "teacher")
    return None if found is None else _predictions(rows, found)
