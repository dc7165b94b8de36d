"""A single model's logits over a split."""

import numpy as np
from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision
from minidisc_ray.core.trace import Batch
from minidisc_ray.data import EncodedRows
from minidisc_ray.models.forward import run_model
from minidisc_ray.training.autocast import autocast
from minidisc_ray.training.predict import predict
from minidisc_ray.training.workers import Workers


def score_model(
    model: PreTrainedModel, rows: EncodedRows, pad_token_id: int, workers: Workers, precision: Precision
) -> np.ndarray:
    """Logits, (N, C), in eval mode."""
    model = model.eval().to(workers.device)

    def run(batch: Batch) -> dict[int, object]:
        with autocast(precision, workers.device):
            return {100: run_model(model, batch).logits}

    return predict(run, rows, int(model.config.num_labels), pad_token_id, workers)[100]  # type: ignore[arg-type]
