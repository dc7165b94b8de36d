"""Trains the sandwich: candidates of several scales that share one model's parameters."""

import math

from minidisc_ray.core.grid import sample_step
from minidisc_ray.models.checkpoint import load_stored_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.choice import choose, epoch_value
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import teacher_and_source
from minidisc_ray.pipeline.stages._scores import metric_above, scoring_flops, selection_logits, write_logits
from minidisc_ray.pipeline.stages._train import training_stage
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.run_files.predictions import SELECTION
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import TEACHER, SandwichStep
from minidisc_ray.training.distil import NestedModels
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.loop import train


def train_sandwich(context: Context, step: SandwichStep, attempt: StageAttempt) -> StageRecord:
    """Train the candidates below the last chosen assistant jointly; keep the best epoch by :func:`epoch_value`."""
    prepared = context.prepared
    config = prepared.config
    teacher_metric, teacher_percent = metric_above(context, attempt.earlier)
    if step.source != TEACHER:
        step = step.below(teacher_percent)
    structures = structures_of(prepared, step.scales)
    teacher, source = teacher_and_source(context, step)

    def scales_of_step(number: int) -> tuple[int, ...]:
        if step.trained is not None:
            return step.trained
        return sample_step(step.scales, step.num_trained, seed=config.seed * 1_000_003 + number)

    def selection_score(scores: Scores) -> float:
        metrics = {scale: prepared.task.selection_score(scores[scale]) for scale in step.candidates}
        choice = choose(step.rule, metrics, teacher_metric, teacher_percent, step.num_chosen, step.num_below)
        return epoch_value(step.rule, metrics, choice)

    models = NestedModels(cut(source, structures[step.scales[0]]), structures, scales_of_step, selection_score)
    training = config.sandwich_training
    with training_stage(context, step, attempt, training, models, teacher) as (learner, observer):
        state = train(learner, prepared.train, training, config.seed, context.storage, attempt.folder, observer)
    # This also frees its cache of the teacher's outputs.
    del learner
    assert state.best is not None
    shared = load_stored_model(context.storage, attempt.folder / "model")
    candidates = {scale: cut(shared, structures[scale]) for scale in step.candidates}
    logits = {scale: selection_logits(context, candidate) for scale, candidate in candidates.items()}
    scored = sum(scoring_flops(candidate, [prepared.selection]) for candidate in candidates.values())
    steps = math.ceil(len(prepared.train) / training.batch_size) * state.best_epoch
    write_logits(context, step.name, {f"{SELECTION}/{scale}": values for scale, values in logits.items()})
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
