"""Executes one trial: its shared steps, then its own, each skipped where it is finished already."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.learning import learn_by_distillation, learn_sandwich
from minidisc_ray.pipeline.records import StageRecord, find_finished, read_record, remove_record, write_record
from minidisc_ray.pipeline.shared import ensure_importance, ensure_teacher
from minidisc_ray.pipeline.taking import choose_assistant, prune_teacher, take_assistant
from minidisc_ray.schedules.plan import (
    CandidateStep,
    ChooseStep,
    DistilStep,
    ImportanceStep,
    OwnStep,
    PruneStep,
    SandwichStep,
    Step,
    TeacherStep,
    Trial,
)
from minidisc_ray.training.checkpoints import drop_checkpoints


def run_shared(context: Context, steps: Sequence[Step]) -> None:
    """Make what several runs share; what is there already is used."""
    for step in steps:
        match step:
            case TeacherStep():
                ensure_teacher(context)
            case ImportanceStep():
                ensure_importance(context)
            case _:
                raise AssertionError(step)


def run_trial(context: Context, trial: Trial) -> list[StageRecord]:
    """Execute a trial's own steps in order; what a finished one left is used, not made again."""
    records: list[StageRecord] = []
    for step in trial.steps:
        records.append(_once(context, trial, step, records))
    return records


def stage_folder(trial_folder: Path, step: Step) -> Path:
    """Where a step of a trial keeps its checkpoints, its record and its model."""
    return trial_folder / "stages" / step.name


def _once(context: Context, trial: Trial, step: OwnStep, before: Sequence[StageRecord]) -> StageRecord:
    folder = stage_folder(context.folder, step)
    workers = context.workers
    if workers.agree(float(workers.is_first and find_finished(folder) is not None)):
        record = read_record(folder, verify=False)
        assert record is not None
        context.stage_index += 1
        return record
    if workers.is_first:
        remove_record(folder)
    with context.attempt(step.name) as beat:
        match step:
            case PruneStep():
                record = prune_teacher(context, step, folder)
            case SandwichStep():
                record = learn_sandwich(context, trial, step, before, folder, beat)
            case CandidateStep():
                record = take_assistant(context, step, folder)
            case ChooseStep():
                record = choose_assistant(context, step, before, folder)
            case DistilStep():
                record = learn_by_distillation(context, trial, step, before, folder, beat)
        if workers.is_first:
            write_record(folder, record)
            drop_checkpoints(folder)
    workers.wait()
    return record
