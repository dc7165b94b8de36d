"""Forward passes: their precision, their device, and predictions over a whole split, shared out over workers.

N rows in the split, C classes.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from minidisc_ray.configs.training import Precision
from minidisc_ray.core.trace import Batch
from minidisc_ray.data import EncodedRows, collate, evaluation_batches
from minidisc_ray.training.workers import Workers

EVALUATION_BATCH_SIZE = 64


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context for forward passes; weights, gradients and losses stay float32."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch's tensors on a device."""
    if device.type == "cpu":
        return batch
    return replace(
        batch,
        input_ids=moved(batch.input_ids, device),
        mask=moved(batch.mask, device),
        token_types=None if batch.token_types is None else moved(batch.token_types, device),
        labels=moved(batch.labels, device),
        is_augmented=None if batch.is_augmented is None else moved(batch.is_augmented, device),
        has_padding=not bool(batch.mask.all()),
    )


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device; the host does not wait for a GPU to copy it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def predict(
    run: Callable[[Batch], Mapping[int, Tensor]],
    rows: EncodedRows,
    num_labels: int,
    pad_token_id: int,
    workers: Workers,
) -> dict[int, np.ndarray]:
    """Logits, (N, C) in row order, of every model that ``run`` runs on a batch.

    Args:
        run: from a batch to logits, (B, C), by scale percent; the same scales for every batch.
        rows: the split.
        num_labels: C.
        pad_token_id: fills rows up to the longest of their batch.
        workers: each takes every n-th batch; all get every row.
    """
    logits: dict[int, Tensor] = {}
    with torch.inference_mode():
        batches = evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE)
        for indices in batches[workers.rank :: workers.size]:
            batch = to_device(collate(rows, indices, pad_token_id), workers.device)
            for scale, values in run(batch).items():
                whole = logits.setdefault(scale, torch.zeros(len(rows), num_labels, device=workers.device))
                whole[moved(indices, workers.device)] = values.float()
        if workers.size > 1:
            _share(logits, len(rows), num_labels, workers)
    return {scale: values.cpu().numpy() for scale, values in logits.items()}


def _share(logits: dict[int, Tensor], count: int, num_labels: int, workers: Workers) -> None:
    """Sum logits over workers; a worker that got no batch of a small split adds zeros."""
    scales = torch.zeros(101, device=workers.device)
    for scale in logits:
        scales[scale] = 1
    workers.sum_(scales)
    for scale in torch.nonzero(scales).flatten().tolist():
        whole = logits.setdefault(scale, torch.zeros(count, num_labels, device=workers.device))
        workers.sum_(whole)
