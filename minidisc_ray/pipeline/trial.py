"""Executes one trial: the shared steps, then its own; finished steps are skipped."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages.candidate import extract_assistant
from minidisc_ray.pipeline.stages.choose import choose_assistant
from minidisc_ray.pipeline.stages.decide import decide_on_assistant
from minidisc_ray.pipeline.stages.distil import distil_student
from minidisc_ray.pipeline.stages.importance import ensure_importance
from minidisc_ray.pipeline.stages.prune import prune_teacher
from minidisc_ray.pipeline.stages.race import train_race
from minidisc_ray.pipeline.stages.sandwich import train_sandwich
from minidisc_ray.pipeline.stages.teacher import ensure_teacher
from minidisc_ray.run_files.records import (
    MODEL,
    RECORD,
    StageRecord,
    find_finished,
    read_record,
    remove_record,
    reused_text,
    write_record,
)
from minidisc_ray.schedules.plan import (
    CandidateStep,
    ChooseStep,
    DecideStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    RaceStep,
    SandwichStep,
    Step,
    TeacherStep,
    Trial,
)
from minidisc_ray.training.checkpoints import drop_checkpoints


def run_shared(context: Context, steps: Sequence[Step]) -> None:
    """Execute the steps that several runs share, unless another run left their results already."""
    for step in steps:
        match step:
            case TeacherStep():
                ensure_teacher(context)
            case ImportanceStep():
                ensure_importance(context)
            case _:
                raise AssertionError(step)


def run_trial(context: Context, trial: Trial) -> list[StageRecord]:
    """Execute a trial's own steps in order and return their records; a step that left its record is not repeated.

    A decision may replace the steps after it.
    """
    records: list[StageRecord] = []
    while len(records) < len(trial.steps):
        step = trial.steps[len(records)]
        folder = stage_folder(context.folder, step)
        record = _finished_record(context, folder, RECORD if isinstance(step, DecideStep) else MODEL)
        if record is None:
            with context.attempt(step.name) as beat:
                attempt = StageAttempt(trial, tuple(records), folder, beat)
                match step:
                    case PruneStep():
                        record = prune_teacher(context, step, attempt)
                    case RaceStep():
                        record = train_race(context, step, attempt)
                    case SandwichStep():
                        record = train_sandwich(context, step, attempt)
                    case CandidateStep():
                        record = extract_assistant(context, step, attempt)
                    case ChooseStep():
                        record = choose_assistant(context, step, attempt)
                    case DistilStep():
                        record = distil_student(context, step, attempt)
                    case DecideStep():
                        record = decide_on_assistant(context, step, attempt)
                if context.workers.is_first:
                    write_record(context.storage, folder, record)
            context.workers.wait()
        records.append(record)
        if record.decision is not None and not record.decision.uses_assistant:
            every = len(trial.steps)
            trial = trial.without_assistant()
            context.num_stages += len(trial.steps) - every
        if context.workers.is_first:
            _drop_checkpoints(context, trial, records)
    return records


def _drop_checkpoints(context: Context, trial: Trial, records: Sequence[StageRecord]) -> None:
    """Remove the checkpoints of finished steps that no later step resumes."""
    later = trial.steps[len(records) :]
    kept = {step.resumes.name for step in later if isinstance(step, DistilStep) and step.resumes is not None}
    kept |= {step.probe for step in later if isinstance(step, DecideStep)}
    for step in trial.steps[: len(records)]:
        if step.name not in kept:
            drop_checkpoints(context.storage, stage_folder(context.folder, step))


def stage_folder(trial_folder: Path, step: Step) -> Path:
    """The folder of a trial's step, with its checkpoints, its record and its model."""
    return trial_folder / "stages" / step.name


def _finished_record(context: Context, folder: Path, left: str) -> StageRecord | None:
    """A finished step's record, the same on every worker; if it is damaged, remove it and return None.

    Args:
        context: the trial's.
        folder: of the step.
        left: the file or folder in it that a finished step has.
    """
    workers = context.workers
    if workers.agree(float(workers.is_first and find_finished(context.storage, folder, left) is not None)):
        context.stage_index += 1
        context.note(reused_text(folder.name, folder))
        record = read_record(context.storage, folder, verify=False)
        assert record is not None
        return record
    if workers.is_first:
        remove_record(context.storage, folder)
    return None
