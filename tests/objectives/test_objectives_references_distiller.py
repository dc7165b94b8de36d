"""Distiller's terms against SciPy and POT, in slow loops in float64."""

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
from objective_kit import pairing, slim_model
from references_kit import found, real_rows, traces
from scipy.spatial.distance import cosine
from scipy.special import softmax
from tiny_models import batch_of, random_rows
from torch.nn import functional

from minidisc_ray.configs import objective as configs


@pytest.fixture
def rows():
    return random_rows(6)


MEASURES = {
    "mse": lambda x, y: float(np.mean((x - y) ** 2)),
    "l2": lambda x, y: float(np.linalg.norm(x - y)),
    "cosine": cosine,
    "pkd": lambda x, y: float(np.sum((x / np.linalg.norm(x) - y / np.linalg.norm(y)) ** 2)),
    "ce": lambda x, y: float(-(softmax(y) * np.log(softmax(x))).sum()),
}


@pytest.mark.parametrize("kind", MEASURES)
@pytest.mark.parametrize("mapping", ["skip", "last"])
def test_distillers_measures_equal_scipy(rows, kind, mapping):
    pair = pairing(configs.DistillerConfig(intermediate={"kind": kind}, mapping=mapping))
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    total = sum(
        MEASURES[kind](x, y)
        for layer in (1, 2, 3)
        for ours, theirs in zip(real_rows(one.hidden[layer], batch), real_rows(other.hidden[layer], batch), strict=True)
        for x, y in zip(ours, theirs, strict=True)
    )
    assert found(pair, batch)["intermediate"] == pytest.approx(total / int(batch.mask.sum()), rel=1e-4)


def test_emd_equals_pot_row_by_row(rows):
    """Equation 7 with POT's own cost of the best plan; two student layers, three of the teacher."""
    config = configs.DistillerConfig(intermediate={"kind": "mse"}, mapping="emd")
    pair = pairing(config, student=slim_model())
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    maps = {layer: pair.objective.maps[str(layer)].linear.weight.detach() for layer in (1, 2)}
    ours = {layer: real_rows(one.hidden[layer] @ maps[layer].T, batch) for layer in (1, 2)}
    theirs = {layer: real_rows(other.hidden[layer], batch) for layer in (1, 2, 3)}
    total = 0.0
    for row in range(batch.rows):
        costs = np.array([[((ours[i][row] - theirs[j][row]) ** 2).mean(-1).sum() for j in (1, 2, 3)] for i in (1, 2)])
        total += ot.emd2([0.5, 0.5], [1 / 3] * 3, costs)
    assert found(pair, batch)["intermediate"] == pytest.approx(total / int(batch.mask.sum()), rel=1e-4)


def test_weights_of_augmented_rows_are_their_own(rows):
    """Equation 1: beta1 and gamma1 for the task's rows, beta2 and gamma2 for those made from them."""
    config = configs.DistillerConfig(
        intermediate={"kind": "mse"}, intermediate_weight=0, prediction="mse", beta1=1, beta2=2, gamma1=3, gamma2=5
    )
    pair = pairing(config)
    batch = batch_of(rows, pair.student)
    one, other = traces(pair, batch)
    made = torch.tensor([False, True, True, False, False, True])
    terms = found(pair, replace(batch, is_augmented=made))
    errors = (one.logits - other.logits).square().mean(-1)
    losses = functional.cross_entropy(one.logits, batch.labels, reduction="none")
    assert terms["logits"] == pytest.approx((errors * torch.where(made, 2.0, 1.0)).mean().item(), rel=1e-5)
    assert terms["labels"] == pytest.approx((losses * torch.where(made, 5.0, 3.0)).mean().item(), rel=1e-5)
    assert found(pair, batch)["labels"] == pytest.approx(3 * losses.mean().item(), rel=1e-5)
