import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.core.structure import Structure, rank_units, structure_at

SCOPES = ("global", "local")


@st.composite
def scores_of_layers(draw, units: st.SearchStrategy[int]):
    layers, width = draw(st.integers(1, 5)), draw(units)
    values = st.floats(0, 10, allow_subnormal=False, width=32)
    return [torch.tensor(draw(st.lists(values, min_size=width, max_size=width))) for _ in range(layers)]


@settings(max_examples=60, deadline=None)
@given(
    heads=scores_of_layers(st.integers(1, 8)),
    neurons=scores_of_layers(st.integers(1, 40)),
    scope=st.sampled_from(SCOPES),
    multiple=st.sampled_from([1, 8]),
)
def test_structures_of_all_pairs_of_scales_nest(heads, neurons, scope, multiple):
    neurons = [neurons[layer % len(neurons)] for layer in range(len(heads))]
    head_ranking, neuron_ranking = rank_units(heads, scope), rank_units(neurons, scope)
    made: list[Structure] = []
    for scale in range(1, 101):
        try:
            made.append(structure_at(head_ranking, neuron_ranking, scale, multiple))
        except ValueError:
            assert not made, "a larger scale lost the heads that a smaller one had"
    for small, large in itertools.pairwise(made):
        assert small.is_within(large)  # neighbours suffice: being within is transitive
    assert made[-1].heads == tuple(len(layer) for layer in heads)
    assert made[-1].neurons == tuple(len(layer) for layer in neurons)
    for structure in made:
        for count, layer in zip(structure.neurons, neurons, strict=True):
            assert count % multiple == 0 or count == len(layer)


def test_nesting_is_shown_layer_by_layer():
    assert Structure(10, (1, 2), (3, 4)).is_within(Structure(20, (1, 2), (3, 4)))
    assert not Structure(10, (2, 0), (0, 0)).is_within(Structure(20, (1, 9), (9, 9)))
    assert not Structure(10, (0, 0), (0, 5)).is_within(Structure(20, (1, 9), (9, 4)))
    assert not Structure(10, (1,), (1,)).is_within(Structure(20, (1, 1), (1, 1)))


@pytest.mark.parametrize("scope", SCOPES)
def test_kept_units_of_a_smaller_scale_are_kept_by_a_larger_one(scope):
    generator = torch.Generator().manual_seed(1)
    ranking = rank_units([torch.rand(10, generator=generator) for _ in range(4)], scope)
    kept = [
        {(layer, unit) for layer, n in enumerate(ranking.counts(scale)) for unit in ranking.order[layer][:n]}
        for scale in range(1, 101)
    ]
    for small, large in itertools.pairwise(kept):
        assert small <= large
    assert [len(units) for units in kept[9::10]] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]


def test_global_ranking_compares_layers_after_normalising_each():
    # Norms 5 and 0.5: normalised (0.6, 0.8) and (1.0, 0.0), so the best unit is in the layer of small numbers.
    ranking = rank_units([torch.tensor([3.0, 4.0]), torch.tensor([0.5, 0.0])], "global")
    assert ranking.order == ((1, 0), (0, 1))
    assert ranking.layers == (1, 0, 0, 1)
    assert [ranking.counts(scale) for scale in (25, 50, 75, 100)] == [(0, 1), (1, 1), (2, 1), (2, 2)]


def test_local_ranking_gives_every_layer_its_share():
    ranking = rank_units([torch.tensor([9.0, 8.0, 7.0, 6.0]), torch.tensor([0.1, 0.3, 0.2, 0.0])], "local")
    assert ranking.counts(50) == (2, 2)
    assert ranking.order == ((0, 1, 2, 3), (1, 2, 0, 3))


def test_ties_fall_to_the_lower_layer_then_to_the_lower_unit():
    ranking = rank_units([torch.ones(3), torch.ones(3)], "global")
    assert ranking.order == ((0, 1, 2), (0, 1, 2))
    assert ranking.layers == (0, 0, 0, 1, 1, 1)


def test_a_layer_of_zero_importance_goes_first():
    ranking = rank_units([torch.zeros(2), torch.tensor([0.1, 0.2])], "global")
    assert ranking.counts(50) == (0, 2)


def test_rounding_is_to_the_nearest_multiple_halves_up_and_monotone():
    neurons = rank_units([torch.arange(20, 0, -1).float()], "local")
    heads = rank_units([torch.ones(20)], "local")
    kept = [structure_at(heads, neurons, 5 * count, 8).neurons[0] for count in range(1, 21)]
    assert kept == [0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 16, 16, 16, 16, 20]
    assert [structure_at(heads, neurons, 5 * count, 1).neurons[0] for count in range(1, 21)] == list(range(1, 21))


def test_a_scale_without_any_head_is_refused():
    heads = rank_units([torch.ones(4)] * 2, "global")
    neurons = rank_units([torch.ones(16)] * 2, "global")
    assert structure_at(heads, neurons, 7).heads == (1, 0)
    with pytest.raises(ValueError, match=r"at 6 percent no attention head is left in any layer \(8 in all"):
        structure_at(heads, neurons, 6)
    with pytest.raises(ValueError, match="layer by layer"):
        structure_at(rank_units([torch.ones(4)] * 2, "local"), neurons, 12)
