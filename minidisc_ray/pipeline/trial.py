"""Executes one trial: its shared steps, then its own, each skipped where it is finished already."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.schedule import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.grid import sample_step
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff, negative_derivative
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.making import assistant_at, make, models_above, stage_above, teacher_in_order
from minidisc_ray.pipeline.matching import hand_on, save_parts, stage_objective
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.planned import untrained_head_note
from minidisc_ray.pipeline.records import StageRecord, read_record, write_record
from minidisc_ray.pipeline.shared import (
    ensure_importance,
    ensure_teacher,
    load_shared_teacher,
    score_rows,
    score_validation,
    structures_of,
    teacher_folder,
)
from minidisc_ray.schedules.plan import (
    STUDENT,
    ChooseStep,
    DistilStep,
    ImportanceStep,
    PruneStep,
    SandwichStep,
    Step,
    TeacherStep,
    Trial,
)
from minidisc_ray.training.distil import Surroundings, distil
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.state import TrainingState


def run_steps(context: Context, steps: Sequence[Step]) -> list[StageRecord]:
    """Execute steps in order; what a finished one left is used, not made again."""
    records: list[StageRecord] = []
    for step in steps:
        match step:
            case TeacherStep():
                records.append(ensure_teacher(context))
            case ImportanceStep():
                records.append(ensure_importance(context))
            case _:
                records.append(_once(context, step, records))
    return records


def run_trial(context: Context, trial: Trial) -> list[StageRecord]:
    """Execute a trial's own steps."""
    return run_steps(context, trial.steps)


def stage_folder(trial_folder: Path, step: Step) -> Path:
    """Where a step of a trial keeps its checkpoints, its record and its model."""
    return trial_folder / "stages" / step.name


def _once(context: Context, step: Step, before: Sequence[StageRecord]) -> StageRecord:
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
                record = _sandwich(context, step, folder, beat)
            case ChooseStep():
                record = _choose(context, step, before)
            case DistilStep():
                record = _distil(context, step, before, folder, beat)
            case _:
                raise AssertionError(step)
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
    sparse = load_model(folder / "model")
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        scale_percent=scale,
        selection_metrics={scale: score_rows(context, sparse)},
        validation_metrics=score_validation(context, sparse),
    )


def _sandwich(context: Context, step: SandwichStep, folder: Path, beat: Callable[[], None]) -> StageRecord:
    prepared = context.prepared
    config, primary = prepared.config, prepared.task.primary_metric
    structures = structures_of(prepared, step.scales)
    teacher = load_shared_teacher(prepared)
    teacher_metric = _teacher_metric(context)

    def scales_of_step(number: int) -> tuple[int, ...]:
        if step.trained is not None:
            return step.trained
        return sample_step(step.scales, step.num_sampled, seed=config.seed * 1_000_003 + number)

    def goodness(scores: Scores) -> float:
        metrics = {scale: scores[scale][primary] for scale in step.candidates}
        return max(tradeoffs_of(step.rule, metrics, teacher_metric).values())

    shared = cut(teacher_in_order(prepared), structures[step.scales[0]])
    state = _match(
        context,
        step.name,
        folder,
        beat,
        config.sandwich_training,
        shared,
        structures,
        teacher,
        None,
        scales_of_step,
        goodness,
    )
    assert state.best is not None
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


def _choose(context: Context, step: ChooseStep, before: Sequence[StageRecord]) -> StageRecord:
    prepared = context.prepared
    student = prepared.config.student_percent
    sandwich = next(record for record in before if record.stage == "sandwich")
    primary = prepared.task.primary_metric
    metrics = {scale: m[primary] for scale, m in sandwich.selection_metrics.items() if scale != student}
    tradeoffs = tradeoffs_of(step.rule, metrics, _teacher_metric(context))
    chosen = best_scale(tradeoffs)
    if context.workers.is_first:
        logger.info(
            "[%s] assistant chosen: %d%% (selection %s %.4f, trade-off %.4f)",
            context.trial,
            chosen,
            primary,
            metrics[chosen],
            tradeoffs[chosen],
        )
    assistant = assistant_at(context, chosen)
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        scale_percent=chosen,
        chosen_percent=chosen,
        tradeoffs=tradeoffs,
        selection_metrics={chosen: sandwich.selection_metrics[chosen]},
        validation_metrics=score_validation(context, assistant),
    )


def _distil(
    context: Context, step: DistilStep, before: Sequence[StageRecord], folder: Path, beat: Callable[[], None]
) -> StageRecord:
    prepared = context.prepared
    config, primary, scale = prepared.config, prepared.task.primary_metric, step.scale_percent
    teacher, source = models_above(context, step, before)
    student, structure = make(prepared, step, source)
    del source
    state = _match(
        context,
        step.name,
        folder,
        beat,
        config.distil,
        student,
        {scale: structure},
        teacher,
        stage_above(context, step, before),
        scales_of_step=lambda number: (scale,),  # noqa: ARG005
        goodness=lambda scores: scores[scale][primary],
    )
    assert state.best is not None
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        scale_percent=scale,
        num_epochs=state.epochs_done,
        best_epoch=state.best_epoch,
        training_flops=state.training_flops,
        step_seconds=state.step_seconds,
        step_memory_bytes=state.step_memory_bytes,
        selection_metrics=state.best.metrics,
        validation_metrics=score_validation(context, load_model(folder / "model")),
    )


def tradeoffs_of(rule: SelectionConfig, metrics: dict[int, float], teacher_metric: float) -> dict[int, float]:
    """Every candidate's trade-off by the rule of a recipe."""
    if isinstance(rule, LambdaSelectionConfig):
        return lambda_tradeoff(metrics, rule.lam)
    return negative_derivative(metrics, teacher_metric)


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
        prepared.student_shape if stage == STUDENT else prepared.shape,
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


def _teacher_metric(context: Context) -> float:
    record = read_record(teacher_folder(context.prepared))
    assert record is not None
    return record.selection_metrics[100][context.prepared.task.primary_metric]


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
