"""The closed form against PyTorch's own counter, under eager attention (it counts nothing for fused attention)."""

import pytest
import torch
from tiny_models import HEADS, LAYERS, NEURONS, ODD, SPARSE, batch_of, rows_of_lengths, structures, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from minidisc_ray.core.flops import (
    encoder_parameters,
    forward_macs,
    inference_flops,
    kept_share,
    total_parameters,
    training_flops,
)
from minidisc_ray.models.families import encoder_layers, shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.surgery import cut

STRUCTURES = {**structures((100, 50, 10)), 30: SPARSE, 20: ODD}


@pytest.fixture(params=STRUCTURES)
def structure(request):
    return STRUCTURES[request.param]


@pytest.fixture
def pruned(model, structure):
    smaller = cut(model, structure)
    smaller.set_attn_implementation("eager")
    return smaller


@pytest.mark.parametrize(("rows", "length"), [(1, 7), (4, 19)])
def test_forward_and_training_flops_are_those_counted(model, pruned, structure, rows, length):
    shape = shape_of(model)
    batch = batch_of(rows_of_lengths([length] * rows), model)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run_model(pruned, batch)
    assert counter.get_total_flops() == inference_flops(shape, structure, rows, length)
    assert counter.get_total_flops() == 2 * forward_macs(shape, structure, rows, length)
    pruned.requires_grad_(True)  # the embedding tables too, so that their output takes a gradient
    with FlopCounterMode(display=False) as counter:
        run_model(pruned, batch).logits.sum().backward()
    assert counter.get_total_flops() == training_flops(shape, structure, rows, length)


def test_parameters_are_those_there(model, pruned, structure):
    shape = shape_of(model)
    assert total_parameters(shape, structure) == sum(parameter.numel() for parameter in pruned.parameters())
    in_layers = [parameter for layer in encoder_layers(pruned) for parameter in layer.parameters()]
    assert encoder_parameters(shape, structure) == sum(parameter.numel() for parameter in in_layers)


def test_a_pruned_model_has_the_shape_that_it_stems_from(model, pruned):
    assert shape_of(pruned) == shape_of(model)


def test_the_shape_of_a_known_model():
    shape = shape_of(tiny_model("electra"))
    assert (shape.num_layers, shape.num_heads, shape.head_size, shape.intermediate_size) == (LAYERS, HEADS, 8, NEURONS)
    assert shape.embedding_projection == 24
    assert shape.head_macs_per_row == 32 * 32 + 32 * 3
    assert shape.full().heads == (HEADS,) * LAYERS


def test_kept_share_is_what_is_really_kept():
    assert kept_share(shape_of(tiny_model("bert")), ODD) == {"heads": 1 / 12, "neurons": 8 / 120}
