"""The importance of the teacher's heads and neurons."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from minidisc_ray.files.writing import write_file
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.stages._shared_artifact import ensure_shared
from minidisc_ray.pipeline.structures import IMPORTANCE, load_shared_teacher
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.training.importance import measure_importance


def ensure_importance(context: Context) -> StageRecord:
    """Importance scores of the teacher; measured now unless another run did."""
    return ensure_shared(context, "importance", context.prepared.importance_folder, IMPORTANCE, _make_importance)


def _make_importance(context: Context, work: Path, beat: Callable[[], None]) -> StageRecord:
    prepared = context.prepared

    def on_batch(done: int, count: int) -> None:
        if done % 20 == 0 or done >= count:
            context.progress("importance", "running", min(done, count), count)
            beat()

    importance = measure_importance(
        load_shared_teacher(prepared),
        prepared.train,
        _importance_rows(prepared),
        prepared.task,
        prepared.pad_token_id,
        context.workers,
        on_batch,
    )
    if context.workers.is_first:
        tensors = {f"heads.{layer:03d}": scores for layer, scores in enumerate(importance.heads)}
        tensors |= {f"neurons.{layer:03d}": scores for layer, scores in enumerate(importance.neurons)}
        write_file(work / IMPORTANCE, lambda temporary: save_file(tensors, temporary))
    return StageRecord(stage="importance", trial=context.trial, training_flops=importance.flops)


def _importance_rows(prepared: PreparedRun) -> Tensor:
    count, limit = len(prepared.train), prepared.config.pruning.importance_rows
    if limit is None or limit >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(prepared.config.data.selection_seed)
    return torch.randperm(count, generator=generator)[:limit].sort().values
