"""Groups a study's finished runs by teacher, task and scale, with their models' answers row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.schedule import MaxiDiscConfig
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.evaluation.choices import Sweep, SweepTrial
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.predictions import (
    SELECTION,
    VALIDATION,
    predictions_path,
    read_predictions,
)
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.plan import MAIN_TRIAL

EVERY_TASK = "every task"
_WITHOUT_ASSISTANT = ("conventional", "sparse_teacher")
_NO_ANSWERS = "no answers were kept row by row (an older release, or they were removed); run it again to have them"


@dataclass(frozen=True)
class FinishedRun:
    """A cell of a study with its checked recipe and its result."""

    cell: Cell
    prepared: PreparedRun
    result: RunResult


@dataclass(frozen=True)
class Answers:
    """The answers of one run's models, checked against the rows.

    Attributes:
        student: the answers of the student that the run kept.
        trials: each trial's answers by assistant scale percent, for a run that tried every scale in full; else empty.
        teacher: the teacher's answers, if they were kept and are needed.
    """

    student: Predictions
    trials: Mapping[int, SweepTrial]
    teacher: Predictions | None


@dataclass(frozen=True)
class RunGroup:
    """The finished runs of one teacher, task and student scale, by method and seed, and their answers."""

    teacher: str | None
    scale_percent: int | None
    task: str
    rows: LabelledRows
    runs: dict[str, dict[int, FinishedRun]]
    answers: dict[str, dict[int, Answers]]

    def of(self, *kinds: str) -> dict[str, dict[int, FinishedRun]]:
        """The runs of the methods whose results have one of ``kinds``, by method and seed."""
        return {name: runs for name, runs in self.runs.items() if next(iter(runs.values())).result.method in kinds}

    def with_assistants(self) -> list[str]:
        """The methods whose schedules have assistants, in the order of the runs."""
        return [name for name, runs in self.runs.items() if has_assistant(next(iter(runs.values())))]

    def students(self, method: str) -> dict[int, Predictions]:
        """The answers of a method's students, by seed."""
        return {seed: found.student for seed, found in self.answers[method].items()}

    def paired(self, first: str, second: str) -> tuple[dict[int, Predictions], dict[int, Predictions]]:
        """The answers of two methods' students, for the seeds that both have."""
        ours, theirs = self.students(first), self.students(second)
        common = sorted(ours.keys() & theirs.keys())
        return {seed: ours[seed] for seed in common}, {seed: theirs[seed] for seed in common}


def groups_of(runs: Sequence[FinishedRun]) -> tuple[list[RunGroup], tuple[str, ...]]:
    """Runs grouped with their answers, in the order given, and a sentence for each reason why runs are left out."""
    by_group: dict[tuple[str | None, int | None, str], list[FinishedRun]] = {}
    for run in runs:
        by_group.setdefault((run.cell.teacher, run.cell.scale_percent, run.cell.task), []).append(run)
    groups, reasons, notes = [], dict[str, list[str]](), dict[str, None]()
    for (teacher, scale, task), members in by_group.items():
        rows: LabelledRows | None = None
        kept: dict[str, dict[int, FinishedRun]] = {}
        answers: dict[str, dict[int, Answers]] = {}
        for run in members:
            try:
                its_rows = _rows(run)
                found, missing = _answers(run, its_rows)
            except UserError as error:
                names = reasons.setdefault(str(error), [])
                names += [run.prepared.name] if run.prepared.name not in names else []
                continue
            notes |= dict.fromkeys(missing)
            rows = rows or its_rows
            kept.setdefault(run.cell.method, {})[run.cell.seed] = run
            answers.setdefault(run.cell.method, {})[run.cell.seed] = found
        if rows is not None:
            groups.append(RunGroup(teacher, scale, task, rows, kept, answers))
    left_out = (f"Not included here: {', '.join(names)} ({why})." for why, names in reasons.items())
    return groups, (*left_out, *notes)


def teacher_answers(run: FinishedRun, rows: LabelledRows) -> Predictions:
    """The answers of the run's teacher on the scored rows.

    Raises:
        UserError: if the answers were removed, or do not fit these rows.
    """
    folder = _teacher_place(run)
    try:
        found = _read(rows, folder, MAIN_TRIAL, "teacher", rows.scored_splits)
    except UserError as error:
        raise UserError(
            f"{folder}: the teacher's answers are damaged; remove this folder and the runs, and run again"
        ) from error
    if found is None:
        raise UserError(f"{folder}: the teacher's answers were removed; remove this folder and the runs, and run again")
    return found


def _rows(run: FinishedRun) -> LabelledRows:
    """The rows that a run's models answered; refuses a run whose file of labels does not match its rows."""
    folder, splits, task = run.prepared.run_folder, run.prepared.splits, run.prepared.task
    kept = read_predictions(predictions_path(folder))
    if kept is None:
        raise UserError(_NO_ANSWERS)
    labels = {SELECTION: splits.selection.labels}
    labels |= {f"{VALIDATION}/{name}": rows.labels for name, rows in splits.validation.items()}
    for name, expected in labels.items():
        if name not in kept or not np.array_equal(kept[name], expected):
            what = "are missing" if name not in kept else "are not those of its rows"
            raise UserError(f"{predictions_path(folder)}: labels of {name} {what}; remove the run and run it again")
    by_split = _by_split(labels)
    if run.result.protocol == "paper":
        # In the paper's protocol the validation rows also select.
        del by_split[SELECTION]
        return LabelledRows(task, by_split, selection_split=task.validation_splits[0])
    return LabelledRows(task, by_split)


def _answers(run: FinishedRun, rows: LabelledRows) -> tuple[Answers, list[str]]:
    """A run's answers, and notes on any that are missing but not required."""
    folder, plan = run.prepared.run_folder, run.prepared.plan
    student = _read(rows, folder, _winner(run), "student", rows.scored_splits)
    if student is None:
        raise UserError(_NO_ANSWERS)
    if not plan.is_sweep or not _tries_in_full(run):
        return Answers(student, {}, None), []
    trials = {}
    for trial in plan.trials:
        assistant = _read(rows, folder, trial.name, "assistant", [rows.selection_split])
        its_student = _read(rows, folder, trial.name, "student", [rows.selection_split, *rows.scored_splits])
        if assistant is not None and its_student is not None and trial.assistant_percent is not None:
            trials[trial.assistant_percent] = SweepTrial(assistant, its_student)
    try:
        teacher = _read(rows, _teacher_place(run), MAIN_TRIAL, "teacher", [rows.selection_split])
    except UserError as error:
        return Answers(student, trials, None), [f"The negative derivative is left out of the rules ({error})."]
    return Answers(student, trials, teacher), []


def _teacher_place(run: FinishedRun) -> Path:
    """The folder with the teacher's answers: the teacher's, or if it was taken away the run's, which keeps a copy."""
    folder = run.prepared.teacher_folder
    return folder if predictions_path(folder, MAIN_TRIAL, "teacher").exists() else run.prepared.run_folder


def _read(rows: LabelledRows, folder: Path, trial: str, stage: str, needed: Sequence[str]) -> Predictions | None:
    """A stage's answers; None if none were kept.

    Raises:
        UserError: if the file cannot be read, lacks a needed split, or does not fit the rows.
    """
    path = predictions_path(folder, trial, stage)
    found = read_predictions(path)
    if found is None:
        return None
    try:
        logits = {split: array for split, array in _by_split(found).items() if split in rows.labels}
        predictions = rows.predictions(logits)
        if missing := [split for split in needed if split not in predictions.by_split]:
            raise ValueError(f"there are no logits of split {missing[0]!r}")
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not this run's answers ({error}); remove the run and run it again") from error
    return predictions


def _by_split(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by split name: ``selection/40`` and ``selection`` become selection, ``validation/SET`` becomes SET."""
    return {
        SELECTION if name.split("/")[0] == SELECTION else name.removeprefix(f"{VALIDATION}/"): array
        for name, array in arrays.items()
    }


def _winner(run: FinishedRun) -> str:
    """The name of the trial whose student the run kept."""
    plan = run.prepared.plan
    if plan.after is not None:
        return plan.after.name
    if not plan.is_sweep:
        return MAIN_TRIAL
    scales = {trial.assistant_percent: trial.name for trial in plan.trials}
    kept = run.result.assistants[0].scale_percent if run.result.assistants else None
    if kept not in scales:
        raise UserError(f"its result names an assistant at {kept} percent, but no trial has that scale")
    return scales[kept]


def sweeps_of(group: RunGroup) -> dict[int, Sweep]:
    """The sweep of each seed, from the first method that tries every scale in full; empty if none does."""
    full = [name for name, runs in group.of("maxidisc").items() if is_exhaustive(runs)]
    if not full:
        return {}
    method = next(iter(group.of("conventional")), None)
    conventional = group.students(method) if method is not None else {}
    return {
        seed: Sweep(found.trials, found.teacher, conventional.get(seed))
        for seed, found in group.answers[full[0]].items()
        if found.trials
    }


def has_assistant(run: FinishedRun) -> bool:
    """Whether a run's schedule has assistants, also where it may end without one."""
    return run.cell.config.schedule.kind not in _WITHOUT_ASSISTANT


def is_exhaustive(runs: Mapping[int, FinishedRun]) -> bool:
    """Whether a method tries every scale in full: a separate assistant and a student for each."""
    return _tries_in_full(next(iter(runs.values())))


def _tries_in_full(run: FinishedRun) -> bool:
    plan = run.prepared.plan
    schedule = run.prepared.config.schedule
    is_ended_early = isinstance(schedule, MaxiDiscConfig) and schedule.early_end is not None
    return plan.after is None and not plan.before and not is_ended_early
