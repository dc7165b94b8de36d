"""Prunes the teacher to a sparse teacher, without training it."""

from minidisc_ray.models.checkpoint import load_stored_model, save_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._scores import score_and_record
from minidisc_ray.pipeline.structures import load_sorted_teacher, structures_of
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import PruneStep


def prune_teacher(context: Context, step: PruneStep, attempt: StageAttempt) -> StageRecord:
    """Cut a smaller model out of the teacher, score it and return its record."""
    prepared, scale = context.prepared, step.scale_percent
    if context.workers.is_first:
        sparse = cut(load_sorted_teacher(prepared), structures_of(prepared, (scale,))[scale])
        save_model(context.storage, sparse, prepared.tokenizer, attempt.folder / "model")
    context.workers.wait()
    return score_and_record(context, step.name, scale, load_stored_model(context.storage, attempt.folder / "model"))
