"""Steps of a trial that train: a sandwich of candidates, and one smaller model."""

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
from minidisc_ray.pipeline.choosing import choose
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.making import make, models_above, scale_of, stage_above
from minidisc_ray.pipeline.matching import hand_on, save_parts, stage_objective
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.planned import untrained_head_note
from minidisc_ray.pipeline.predictions import SELECTION
from minidisc_ray.pipeline.records import StageRecord
from minidisc_ray.pipeline.scoring import keep_answers, metric_above, record_of
from minidisc_ray.pipeline.shared import selection_logits, structures_of
from minidisc_ray.schedules.plan import STUDENT, TEACHER, DistilStep, SandwichStep, Trial
from minidisc_ray.training.distil import Surroundings, distil
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.state import TrainingState


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
    config, primary = prepared.config, prepared.task.primary_metric
    teacher_metric, teacher_percent = metric_above(context, before)
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
    keep_answers(context, step.name, {f"{SELECTION}/{scale}": values for scale, values in logits.items()})
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
    made = record_of(context, step.name, scale, load_model(folder / "model"))
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
    with closing(StageObserver(context, stage, training.num_epochs, beat)) as observer:
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
    if context.workers.is_first:
        save_model(student.to("cpu"), prepared.tokenizer, folder / "model")
        save_parts(objective, folder)
    context.workers.wait()
    return state


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
