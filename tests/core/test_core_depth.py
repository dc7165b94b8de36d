import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.core.depth import layers_taken
from minidisc_ray.core.structure import Structure, narrowed, rank_among, rank_units, structure_at, structure_of_layers

# Layer 1 outranks layer 0 for heads; by hand, so that no ranking has to be guessed.
HEADS = [torch.tensor([3.0, 4.0]), torch.tensor([12.0, 5.0]), torch.tensor([8.0, 15.0])]
NEURONS = [torch.arange(1.0, 9.0), torch.arange(8.0, 0.0, -1.0), torch.ones(8)]


@pytest.mark.parametrize(
    ("layers", "taken", "take", "expected"),
    [
        (12, 6, "uniform", (1, 3, 5, 7, 9, 11)),
        (12, 4, "uniform", (2, 5, 8, 11)),
        (12, 5, "uniform", (2, 4, 7, 9, 11)),
        (12, 1, "uniform", (11,)),
        (4, 3, "uniform", (1, 2, 3)),
        (3, 3, "uniform", (0, 1, 2)),
        (12, 3, "first", (0, 1, 2)),
        (12, 3, "last", (9, 10, 11)),
    ],
)
def test_layers_taken(layers, taken, take, expected):
    assert layers_taken(layers, taken, take) == expected


@given(layers=st.integers(1, 60), share=st.floats(0, 1))
def test_uniform_layers_are_spread_evenly_up_to_the_topmost(layers, share):
    taken = max(1, round(layers * share))
    found = layers_taken(layers, taken, "uniform")
    assert len(found) == taken
    assert found[-1] == layers - 1
    step = -(-layers // taken)
    gaps = {above - below for below, above in zip((-1, *found), found, strict=False)}
    assert gaps <= {step, step - 1} - {0}
    if layers % taken == 0:
        assert gaps == {step}


@pytest.mark.parametrize("scope", ["global", "local"])
def test_taken_layers_compete_with_each_other_alone(scope):
    whole = rank_units(HEADS, scope)
    alone = rank_units([HEADS[0], HEADS[2]], scope)
    assert rank_among(whole, (0, 2)) == alone
    assert rank_among(whole, (0, 1, 2)) == whole


@settings(max_examples=60, deadline=None)
@given(width=st.integers(25, 100), scope=st.sampled_from(["global", "local"]), seed=st.integers(0, 50))
def test_the_width_is_the_share_kept_of_the_taken_layers(width, scope, seed):
    generator = torch.Generator().manual_seed(seed)
    heads = rank_units([torch.rand(4, generator=generator) for _ in range(5)], scope)
    neurons = rank_units([torch.rand(20, generator=generator) for _ in range(5)], scope)
    structure = structure_of_layers(heads, neurons, (1, 3, 4), width, scale_percent=7, neuron_multiple=1)
    assert structure.scale_percent == 7
    assert len(structure.heads) == len(structure.neurons) == 3
    assert sum(structure.neurons) == pytest.approx(0.6 * width, abs=0.5 if scope == "global" else 1.5)
    every_layer = structure_of_layers(heads, neurons, range(5), width, scale_percent=width, neuron_multiple=1)
    assert every_layer == structure_at(heads, neurons, width, 1)


def test_a_width_without_heads_is_refused():
    heads, neurons = rank_units(HEADS, "local"), rank_units(NEURONS, "local")
    with pytest.raises(ValueError, match=r"at 20 percent no attention head is left in any layer \(4 in all"):
        structure_of_layers(heads, neurons, (0, 2), 20, 13)


def test_each_layer_keeps_the_smaller_of_its_own_and_its_sources():
    source = Structure(60, (2, 0, 1), (8, 3, 5))
    assert narrowed(Structure(30, (1, 2), (6, 6)), source, (0, 2)) == Structure(30, (1, 1), (6, 5))
    with pytest.raises(ValueError, match=r"the model at 60 percent kept no attention head in layers 2$"):
        narrowed(Structure(30, (2,), (6,)), source, (1,))
