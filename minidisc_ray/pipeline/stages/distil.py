"""Distils a model to a smaller one: an assistant or the student."""

from minidisc_ray.models.checkpoint import load_stored_model, save_model
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import build_student, resolve_scale, teacher_and_source
from minidisc_ray.pipeline.stages._scores import score_and_record
from minidisc_ray.pipeline.stages._train import training_stage
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import PROBE, DistilStep
from minidisc_ray.schedules.training import last_epoch, training_of
from minidisc_ray.training.checkpoints import copy_checkpoints
from minidisc_ray.training.distil import NestedModels
from minidisc_ray.training.loop import train
from minidisc_ray.training.state import TrainingState


def distil_student(context: Context, step: DistilStep, attempt: StageAttempt) -> StageRecord:
    """Train one smaller model, an assistant or the student, to match the model above it; return its record.

    A student that starts from a race's slice is saved as the untrained slice if no epoch improved on it. A probe is
    not scored on validation rows. A student that resumes it is charged for the epochs after it, and for filling the
    cache of its teacher's outputs again.
    """
    prepared = context.prepared
    scale = resolve_scale(step.scale, attempt.earlier)
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
    if step.resumes is not None and context.workers.is_first:
        copy_checkpoints(context.storage, context.folder / "stages" / step.resumes.name, attempt.folder)
    with training_stage(context, step, attempt, training, models, teacher) as (learner, observer):
        fill_flops = context.workers.sum_number(learner.total_flops()) if step.resumes is not None else 0.0
        state = train(
            learner,
            prepared.train,
            training,
            prepared.config.seed,
            context.storage,
            attempt.folder,
            observer,
            last_epoch(prepared.config, step),
        )
    # This also frees its cache of the teacher's outputs.
    del learner
    assert state.best is not None
    training_flops, evaluation_flops = state.training_flops, state.evaluation_flops
    if step.resumes is not None:
        before = next(record for record in attempt.earlier if record.stage == step.resumes.name)
        # Less than nothing only where the probe's cache had no room, and this one has.
        training_flops = max(0.0, training_flops - before.training_flops + fill_flops)
        evaluation_flops -= before.evaluation_flops
    keeps_slice = step.slice_of is not None and _is_slice_better(context, step, attempt, state)
    if keeps_slice and context.workers.is_first:
        begun, _ = build_student(context, step, teacher, attempt.earlier)
        save_model(context.storage, begun, prepared.tokenizer, attempt.folder / "model")
    context.workers.wait()
    if step.name == PROBE:
        made = StageRecord(stage=step.name, trial=context.trial)
    else:
        made = score_and_record(context, step.name, scale, load_stored_model(context.storage, attempt.folder / "model"))
    return made.model_copy(
        update={
            "num_epochs": state.epochs_done,
            "best_epoch": 0 if keeps_slice else state.best_epoch,
            "training_flops": training_flops,
            "evaluation_flops": evaluation_flops + made.evaluation_flops,
            "history": state.history,
            "step_seconds": state.step_seconds,
            "step_memory_bytes": state.step_memory_bytes,
            "selection_metrics": made.selection_metrics if keeps_slice else state.best.metrics,
        }
    )


def _is_slice_better(context: Context, step: DistilStep, attempt: StageAttempt, state: TrainingState) -> bool:
    """Whether the slice that a student started from scores above each of its epochs on the selection rows."""
    race = next(record for record in attempt.earlier if record.stage == step.slice_of)
    score = context.prepared.task.selection_score(race.selection_metrics[context.prepared.plan.student_percent])
    assert state.best is not None
    return score > state.best.selection_score
