"""Traces and terms of a pair, as references compare them."""

import numpy as np
import torch
from objective_kit import Pairing
from torch import Tensor

from minidisc_ray.core.trace import Batch, Trace
from minidisc_ray.models.forward import run_model


def traces(pair: Pairing, batch: Batch) -> tuple[Trace, Trace]:
    """What the objective asks of the student and of the teacher."""
    needs = pair.objective.needs()
    with torch.no_grad():
        return run_model(pair.student, batch, needs.student), run_model(pair.teacher, batch, needs.teacher)


def found(pair: Pairing, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        return {name: value.item() for name, value in pair.terms(batch).items()}


def real_rows(tensor: Tensor, batch: Batch) -> list[np.ndarray]:
    """Each row's real tokens, in float64."""
    return [row[:length].double().numpy() for row, length in zip(tensor, batch.mask.sum(1).tolist(), strict=True)]
