"""A sparse teacher: a smaller model cut out of the teacher and not trained."""

from minidisc_ray.models.checkpoint import load_stored_model, save_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._scores import record_of
from minidisc_ray.pipeline.structures import structures_of, teacher_in_order
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import PruneStep


def prune_teacher(context: Context, step: PruneStep, attempt: StageAttempt) -> StageRecord:
    """Cut a smaller model out of the teacher."""
    prepared, scale = context.prepared, step.scale_percent
    if context.workers.is_first:
        sparse = cut(teacher_in_order(prepared), structures_of(prepared, (scale,))[scale])
        save_model(context.storage, sparse, prepared.tokenizer, attempt.folder / "model")
    context.workers.wait()
    return record_of(context, step.name, scale, load_stored_model(context.storage, attempt.folder / "model"))
