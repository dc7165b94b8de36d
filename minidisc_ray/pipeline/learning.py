"""Steps of a trial that train: a sandwich of candidates, and one smaller model."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.grid import sample_step
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.choosing import choose, epoch_value
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.making import make, models_above, scale_of, stage_above
from minidisc_ray.pipeline.matching import hand_on, save_parts, stage_objective
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.planned import untrained_head_note
from minidisc_ray.pipeline.predictions import SELECTION
from minidisc_ray.pipeline.records import StageRecord
from minidisc_ray.pipeline.scoring import keep_answers, metric_above, record_of
from minidisc_ray.pipeline.shared import scoring_flops, selection_logits, structures_of
from minidisc_ray.schedules.plan import STUDENT, TEACHER, DistilStep, SandwichStep, Trial
from minidisc_ray.training.distil import Surroundings, distil
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.state import TrainingState
from minidisc_ray.training.teacher_outputs import cache_limit_bytes


def learn_sandwich(
    context: Context,
    trial: Trial,
    step: SandwichStep,
    before: Sequence[StageRecord],
    folder: Path,
    beat: Callable[[], None],
) -> StageRecord:
    """Train the candidates that are left, jointly; the kept state has the best choice to make."""
    prepared = context.prepared
    config = prepared.config
    teacher_metric, teacher_percent = metric_above(context, before)
    if step.source != TEACHER:
        step = step.below(teacher_percent)
    structures = structures_of(prepared, step.scales)
    teacher, source = models_above(context, step)

    def scales_of_step(number: int) -> tuple[int, ...]:
        if step.trained is not None:
            return step.trained
        return sample_step(step.scales, step.num_trained, seed=config.seed * 1_000_003 + number)

    def selection_score(scores: Scores) -> float:
        metrics = {scale: prepared.task.selection_score(scores[scale]) for scale in step.candidates}
        choice = choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below)
        return epoch_value(step.rule, metrics, choice)

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
        selection_score,
    )
    assert state.best is not None
    shared = load_model(folder / "model")
    candidates = {scale: cut(shared, structures[scale]) for scale in step.candidates}
    logits = {scale: selection_logits(context, candidate) for scale, candidate in candidates.items()}
    scored = sum(scoring_flops(candidate, [prepared.selection]) for candidate in candidates.values())
    steps = math.ceil(len(prepared.train) / config.sandwich_training.batch_size) * state.best_epoch
    keep_answers(context, step.name, {f"{SELECTION}/{scale}": values for scale, values in logits.items()})
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        num_epochs=state.epochs_done,
        best_epoch=state.best_epoch,
        training_flops=state.training_flops,
        evaluation_flops=state.evaluation_flops + scored,
        step_seconds=state.step_seconds,
        step_memory_bytes=state.step_memory_bytes,
        history=state.history,
        trained_scales=tuple(sorted({scale for number in range(steps) for scale in scales_of_step(number)})),
        selection_metrics=state.best.metrics,
    )


def learn_by_distillation(
    context: Context,
    trial: Trial,
    step: DistilStep,
    before: Sequence[StageRecord],
    folder: Path,
    beat: Callable[[], None],
) -> StageRecord:
    """Train one smaller model under the one above it."""
    prepared = context.prepared
    config, scale = prepared.config, scale_of(step.scale, before)
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
        selection_score=lambda scores: prepared.task.selection_score(scores[scale]),
    )
    assert state.best is not None
    made = record_of(context, step.name, scale, load_model(folder / "model"))
    return made.model_copy(
        update={
            "num_epochs": state.epochs_done,
            "best_epoch": state.best_epoch,
            "training_flops": state.training_flops,
            "evaluation_flops": state.evaluation_flops + made.evaluation_flops,
            "history": state.history,
            "step_seconds": state.step_seconds,
            "step_memory_bytes": state.step_memory_bytes,
            "selection_metrics": state.best.metrics,
        }
    )


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
    selection_score: Callable[[Scores], float],
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
    with closing(StageObserver(context, stage, training.num_epochs, beat)) as observer:
        state = distil(
            student,
            structures,
            teacher,
            objective,
            scales_of_step,
            selection_score,
            training,
            _surroundings(context),
            folder,
            observer,
        )
    if context.workers.is_first:
        save_model(student.to("cpu"), prepared.tokenizer, folder / "model")
        save_parts(objective, folder)
    context.workers.wait()
    return state


def _surroundings(context: Context) -> Surroundings:
    prepared, workers = context.prepared, context.workers
    config = prepared.config
    return Surroundings(
        rows=prepared.train,
        selection=prepared.selection,
        task=prepared.task,
        pad_token_id=prepared.pad_token_id,
        precision=config.precision,
        seed=config.seed,
        cache_bytes=int(workers.agree(cache_limit_bytes(config.compute, workers.size))),
        workers=workers,
    )
