"""Executes one trial: its shared steps, then its own, each skipped where it is finished already."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.grid import TEACHER_PERCENT, sample_step
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.choosing import choose
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.making import (
    make,
    models_above,
    scale_of,
    stage_above,
    take_candidate,
    take_model,
    teacher_in_order,
)
from minidisc_ray.pipeline.matching import hand_on, save_parts, stage_objective
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.planned import untrained_head_note
from minidisc_ray.pipeline.predictions import SELECTION, VALIDATION, keep_predictions
from minidisc_ray.pipeline.records import StageRecord, read_record, write_record
from minidisc_ray.pipeline.shared import (
    ensure_importance,
    ensure_teacher,
    selection_logits,
    selection_metrics,
    structures_of,
    teacher_folder,
    validation_logits,
    validation_metrics,
)
from minidisc_ray.schedules.plan import (
    STUDENT,
    TEACHER,
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
from minidisc_ray.training.distil import Surroundings, distil
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.state import TrainingState


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
    if workers.agree(float(read_record(folder) is not None)):
        record = read_record(folder)
        assert record is not None
        context.stage_index += 1
        return record
    with context.attempt(step.name) as beat:
        match step:
            case PruneStep():
                record = _prune(context, step, folder)
            case SandwichStep():
                record = _sandwich(context, trial, step, before, folder, beat)
            case CandidateStep():
                record = _take(context, step, folder)
            case ChooseStep():
                record = _choose(context, step, before, folder)
            case DistilStep():
                record = _distil(context, trial, step, before, folder, beat)
        if workers.is_first:
            write_record(folder, record)
            for checkpoint in ("newest", "best"):
                shutil.rmtree(folder / checkpoint, ignore_errors=True)
    workers.wait()
    return record


def _prune(context: Context, step: PruneStep, folder: Path) -> StageRecord:
    prepared, scale = context.prepared, step.scale_percent
    if context.workers.is_first:
        sparse = cut(teacher_in_order(prepared), structures_of(prepared, (scale,))[scale])
        save_model(sparse, prepared.tokenizer, folder / "model")
    context.workers.wait()
    return _untrained(context, step.name, scale, load_model(folder / "model"))


def _take(context: Context, step: CandidateStep, folder: Path) -> StageRecord:
    sandwich = context.prepared.run_folder / "stages" / "sandwich"
    candidate = take_candidate(context, sandwich, step.scale_percent, folder)
    return _untrained(context, step.name, step.scale_percent, candidate)


def _sandwich(
    context: Context,
    trial: Trial,
    step: SandwichStep,
    before: Sequence[StageRecord],
    folder: Path,
    beat: Callable[[], None],
) -> StageRecord:
    prepared = context.prepared
    config, primary = prepared.config, prepared.task.primary_metric
    teacher_metric, teacher_percent = _above(context, before)
    if step.source != TEACHER:
        step = step.below(teacher_percent)
    structures = structures_of(prepared, step.scales)
    teacher, source = models_above(context, step)

    def scales_of_step(number: int) -> tuple[int, ...]:
        if step.trained is not None:
            return step.trained
        return sample_step(step.scales, step.num_trained, seed=config.seed * 1_000_003 + number)

    def goodness(scores: Scores) -> float:
        metrics = {scale: scores[scale][primary] for scale in step.candidates}
        return choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below).value

    state = _match(
        context,
        step.name,
        folder,
        beat,
        config.sandwich_training,
        cut(source, structures[step.scales[0]]),
        structures,
        teacher,
        stage_above(context, trial, step),
        scales_of_step,
        goodness,
    )
    assert state.best is not None
    shared = load_model(folder / "model")
    logits = {scale: selection_logits(context, cut(shared, structures[scale])) for scale in step.candidates}
    _keep(context, step.name, {f"{SELECTION}/{scale}": values for scale, values in logits.items()})
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        num_epochs=state.epochs_done,
        best_epoch=state.best_epoch,
        training_flops=state.training_flops,
        step_seconds=state.step_seconds,
        step_memory_bytes=state.step_memory_bytes,
        selection_metrics=state.best.metrics,
    )


def _choose(context: Context, step: ChooseStep, before: Sequence[StageRecord], folder: Path) -> StageRecord:
    prepared = context.prepared
    found = _candidates(context, step, before)
    primary = prepared.task.primary_metric
    metrics = {scale: selection[primary] for scale, (selection, _) in found.items()}
    teacher_metric, teacher_percent = _above(context, before)
    choice = choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below)
    chosen = choice.chain[0]
    selection, stage = found[chosen]
    if context.workers.is_first:
        logger.info(
            "[%s] assistant chosen: %s (selection %s %.4f, trade-off %.4f)",
            context.trial,
            " → ".join(f"{scale}%" for scale in choice.chain),
            primary,
            metrics[chosen],
            choice.tradeoffs[chosen],
        )
    if step.sandwich is None:
        assistant = take_model(context, stage, folder)
    else:
        assistant = take_candidate(context, stage, chosen, folder)
    record = _untrained(context, step.name, chosen, assistant)
    return record.model_copy(
        update={
            "selection_metrics": {chosen: selection},
            "chosen_percent": chosen,
            "chosen_chain": choice.chain,
            "tradeoffs": choice.tradeoffs,
        }
    )


def _candidates(
    context: Context, step: ChooseStep, before: Sequence[StageRecord]
) -> dict[int, tuple[dict[str, float], Path]]:
    """By scale what a choice is made from: selection metrics, and the folder of the stage that trained them."""
    prepared = context.prepared
    if step.sandwich is not None:
        sandwich = next(record for record in before if record.stage == step.sandwich)
        folder = context.folder / "stages" / step.sandwich
        student = prepared.config.student_percent
        return {scale: (found, folder) for scale, found in sandwich.selection_metrics.items() if scale != student}
    candidates = {}
    for trial in prepared.plan.trials:
        folder = stage_folder(prepared.run_folder / "trials" / trial.name, trial.steps[-1])
        # An assistant whose trial failed is no candidate.
        if (record := read_record(folder)) is not None and record.scale_percent is not None:
            candidates[record.scale_percent] = (record.selection_metrics[record.scale_percent], folder)
    return candidates


def _distil(
    context: Context,
    trial: Trial,
    step: DistilStep,
    before: Sequence[StageRecord],
    folder: Path,
    beat: Callable[[], None],
) -> StageRecord:
    prepared = context.prepared
    config, primary, scale = prepared.config, prepared.task.primary_metric, scale_of(step.scale, before)
    teacher, source = models_above(context, step)
    student, structure = make(context, step, source, before)
    del source
    state = _match(
        context,
        step.name,
        folder,
        beat,
        config.distil_training,
        student,
        {scale: structure},
        teacher,
        stage_above(context, trial, step),
        scales_of_step=lambda number: (scale,),  # noqa: ARG005
        goodness=lambda scores: scores[scale][primary],
    )
    assert state.best is not None
    made = _untrained(context, step.name, scale, load_model(folder / "model"))
    return made.model_copy(
        update={
            "num_epochs": state.epochs_done,
            "best_epoch": state.best_epoch,
            "training_flops": state.training_flops,
            "step_seconds": state.step_seconds,
            "step_memory_bytes": state.step_memory_bytes,
            "selection_metrics": state.best.metrics,
        }
    )


def _untrained(context: Context, stage: str, scale: int, model: PreTrainedModel) -> StageRecord:
    """The record of a model as it is: scored on selection and validation rows, its answers kept."""
    selection = selection_logits(context, model)
    validation = validation_logits(context, model)
    _keep(
        context,
        stage,
        {f"{SELECTION}/{scale}": selection, **{f"{VALIDATION}/{name}": found for name, found in validation.items()}},
    )
    return StageRecord(
        stage=stage,
        trial=context.trial,
        scale_percent=scale,
        selection_metrics={scale: selection_metrics(context.prepared, selection)},
        validation_metrics=validation_metrics(context.prepared, validation),
    )


def _keep(context: Context, stage: str, logits: Mapping[str, np.ndarray]) -> None:
    if context.workers.is_first:
        keep_predictions(context.prepared.run_folder, context.trial, stage, logits)


def _match(
    context: Context,
    stage: str,
    folder: Path,
    beat: Callable[[], None],
    training: TrainingConfig,
    student: PreTrainedModel,
    structures: dict[int, Structure],
    teacher: PreTrainedModel,
    above: Path | None,
    scales_of_step: Callable[[int], tuple[int, ...]],
    goodness: Callable[[Scores], float],
) -> TrainingState:
    """Distil, watched, and save the kept state."""
    prepared = context.prepared
    objective = stage_objective(
        prepared.config,
        prepared.shape,
        prepared.task,
        structure_of(teacher.config),
        structures.values(),
        above is not None,
        prepared.shape_made(stage),
    )
    if above is not None:
        hand_on(above, objective)
    if context.workers.is_first and stage == STUDENT and (note := untrained_head_note(prepared)) is not None:
        logger.warning("[%s] %s", context.trial, note)
    observer = StageObserver(context, stage, training.num_epochs, beat)
    state = distil(
        student,
        structures,
        teacher,
        objective,
        scales_of_step,
        goodness,
        training,
        _surroundings(context),
        folder,
        observer,
    )
    observer.close()
    if context.workers.is_first:
        save_model(student.to("cpu"), prepared.tokenizer, folder / "model")
        save_parts(objective, folder)
    context.workers.wait()
    return state


def _above(context: Context, before: Sequence[StageRecord]) -> tuple[float, int]:
    """Selection metric and scale of the model above a sandwich or a choice: the newest chosen, else the teacher."""
    primary = context.prepared.task.primary_metric
    chosen = [record for record in before if record.chosen_percent is not None]
    if chosen:
        scale = chosen[-1].chosen_percent
        assert scale is not None
        return chosen[-1].selection_metrics[scale][primary], scale
    record = read_record(teacher_folder(context.prepared))
    assert record is not None
    return record.selection_metrics[TEACHER_PERCENT][primary], TEACHER_PERCENT


def _surroundings(context: Context) -> Surroundings:
    prepared = context.prepared
    config = prepared.config
    return Surroundings(
        rows=prepared.train,
        selection=prepared.selection,
        task=prepared.task,
        pad_token_id=prepared.pad_token_id,
        precision=config.precision,
        seed=config.seed,
        cache_bytes=int(config.compute.teacher_cache_gib * 2**30),
        workers=context.workers,
    )
