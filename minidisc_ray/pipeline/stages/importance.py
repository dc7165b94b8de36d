"""Measures the importance of the teacher's heads and neurons."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from minidisc_ray.core.structure import agreement, rank_units
from minidisc_ray.log import logger
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.stages._shared_artifact import ensure_shared
from minidisc_ray.pipeline.structures import IMPORTANCE, load_shared_teacher
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.training.importance import (
    Importance,
    measure_importance,
    measure_until_stable,
    shuffled_rows,
    weight_magnitudes,
)


def ensure_importance(context: Context) -> StageRecord:
    """The record of the teacher's importance scores, measured now unless another run measured them."""
    return ensure_shared(context, "importance", context.prepared.importance_folder, IMPORTANCE, _make_importance)


def _make_importance(context: Context, work: Path, beat: Callable[[], None]) -> StageRecord:
    prepared = context.prepared
    teacher, pruning = load_shared_teacher(prepared), prepared.config.pruning

    def on_batch(done: int, count: int) -> None:
        if done % 20 == 0 or done >= count:
            context.progress("importance", "running", min(done, count), count)
            beat()

    def measure(positions: Tensor) -> Importance:
        return measure_importance(
            teacher, prepared.train, positions, prepared.task, prepared.pad_token_id, context.workers, on_batch
        )

    def agreement_of(first: Importance, second: Importance) -> float:
        pairs = ((first.heads, second.heads), (first.neurons, second.neurons))
        rankings = ([rank_units(scores, pruning.ranking) for scores in pair] for pair in pairs)
        return min(agreement(ours, theirs, prepared.plan.student_percent) for ours, theirs in rankings)

    num_rows: int | None
    agreed: float | None
    if pruning.importance == "magnitude":
        importance, num_rows, agreed = weight_magnitudes(teacher), None, None
    elif pruning.importance_rows == "auto":
        sampled = measure_until_stable(measure, _shuffled(prepared), agreement_of)
        importance, num_rows, agreed = sampled.importance, sampled.num_rows, sampled.agreement
        if context.workers.is_first:
            logger.info(
                "[%s] importance: %d of %d rows; two halves of them keep %.0f%% of the same units",
                context.trial,
                num_rows,
                len(prepared.train),
                100 * agreed,
            )
    else:
        positions = _importance_rows(prepared, pruning.importance_rows)
        importance, num_rows, agreed = measure(positions), len(positions), None
    if context.workers.is_first:
        tensors = {f"heads.{layer:03d}": scores for layer, scores in enumerate(importance.heads)}
        tensors |= {f"neurons.{layer:03d}": scores for layer, scores in enumerate(importance.neurons)}
        context.storage.write_file(work / IMPORTANCE, lambda temporary: save_file(tensors, temporary))
    return StageRecord(
        stage="importance",
        trial=context.trial,
        training_flops=importance.flops,
        num_rows=num_rows,
        agreement=agreed,
    )


def _importance_rows(prepared: PreparedRun, limit: int | None) -> Tensor:
    count = len(prepared.train)
    if limit is None or limit >= count:
        return torch.arange(count)
    return _shuffled(prepared)[:limit].sort().values


def _shuffled(prepared: PreparedRun) -> Tensor:
    return shuffled_rows(len(prepared.train), prepared.config.data.selection_seed)
