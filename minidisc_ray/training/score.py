"""A single model's logits over a split, and what they cost."""

import numpy as np
from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision
from minidisc_ray.core.flops import EncoderShape, inference_flops
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.trace import Batch
from minidisc_ray.data import EncodedRows, evaluation_batches
from minidisc_ray.models.forward import run_model
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE, autocast, predict
from minidisc_ray.training.workers import Workers


def pass_flops(shape: EncoderShape, structure: Structure, rows: EncodedRows, workers: Workers | None = None) -> int:
    """FLOPs of one forward pass over a split, in the batches of :func:`predict`; on this worker alone if given."""
    batches = evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE)
    if workers is not None:
        batches = batches[workers.rank :: workers.size]
    return sum(inference_flops(shape, structure, len(indices), int(rows.lengths[indices].max())) for indices in batches)


def score_model(
    model: PreTrainedModel, rows: EncodedRows, pad_token_id: int, workers: Workers, precision: Precision
) -> np.ndarray:
    """Logits, (N, C), in eval mode."""
    model = model.eval().to(workers.device)

    def run(batch: Batch) -> dict[int, object]:
        with autocast(precision, workers.device):
            return {TEACHER_PERCENT: run_model(model, batch).logits}

    return predict(run, rows, int(model.config.num_labels), pad_token_id, workers)[TEACHER_PERCENT]  # type: ignore[arg-type]
