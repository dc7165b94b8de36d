"""A distillation: one smaller model trained under the one above it."""

from minidisc_ray.models.checkpoint import load_stored_model, save_model
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import build_student, scale_of, teacher_and_source
from minidisc_ray.pipeline.stages._scores import record_of
from minidisc_ray.pipeline.stages._train import learning_from
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import DistilStep
from minidisc_ray.schedules.training import training_of
from minidisc_ray.training.distil import NestedModels
from minidisc_ray.training.loop import train
from minidisc_ray.training.state import TrainingState


def distil_student(context: Context, step: DistilStep, attempt: StageAttempt) -> StageRecord:
    """Train one smaller model under the one above it: an assistant, or the student.

    A student that goes on from a race's slice is kept as that slice where no epoch made it better.
    """
    prepared = context.prepared
    scale = scale_of(step.scale, attempt.earlier)
    teacher, source = teacher_and_source(context, step)
    student, structure = build_student(context, step, source, attempt.earlier)
    del source
    models = NestedModels(
        student,
        {scale: structure},
        scales_of_step=lambda number: (scale,),  # noqa: ARG005
        selection_score=lambda scores: prepared.task.selection_score(scores[scale]),
    )
    training = training_of(prepared.config, step)
    with learning_from(context, step, attempt, training, models, teacher) as (learner, observer):
        state = train(
            learner, prepared.train, training, prepared.config.seed, context.storage, attempt.folder, observer
        )
    # And with it what is kept of the teacher's outputs.
    del learner
    assert state.best is not None
    is_slice = step.slice_of is not None and _is_slice_better(context, step, attempt, state)
    if is_slice and context.workers.is_first:
        begun, _ = build_student(context, step, teacher, attempt.earlier)
        save_model(context.storage, begun, prepared.tokenizer, attempt.folder / "model")
    context.workers.wait()
    made = record_of(context, step.name, scale, load_stored_model(context.storage, attempt.folder / "model"))
    return made.model_copy(
        update={
            "num_epochs": state.epochs_done,
            "best_epoch": 0 if is_slice else state.best_epoch,
            "training_flops": state.training_flops,
            "evaluation_flops": state.evaluation_flops + made.evaluation_flops,
            "history": state.history,
            "step_seconds": state.step_seconds,
            "step_memory_bytes": state.step_memory_bytes,
            "selection_metrics": made.selection_metrics if is_slice else state.best.metrics,
        }
    )


def _is_slice_better(context: Context, step: DistilStep, attempt: StageAttempt, state: TrainingState) -> bool:
    """Whether the slice that a student went on from scores above every epoch of it on the selection rows."""
    race = next(record for record in attempt.earlier if record.stage == step.slice_of)
    score = context.prepared.task.selection_score(race.selection_metrics[context.prepared.plan.student_percent])
    assert state.best is not None
    return score > state.best.selection_score
