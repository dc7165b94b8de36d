"""What a scale keeps: rankings of heads and neurons, and the nested structures cut from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["global", "local"]


def normalise_layers(scores: Sequence[Tensor]) -> list[Tensor]:
    """Divide each layer's scores, each (U,), by their l2 norm (MiniDisc, appendix A, after Molchanov et al. 2017).

    A layer whose scores are all zero stays zero, so that it is pruned first.
    """
    return [score / norm if (norm := torch.linalg.vector_norm(score)) > 0 else score for score in scores]


@dataclass(frozen=True)
class UnitRanking:
    """The order in which units of one type (heads or neurons) are kept.

    Attributes:
        order: for each layer, its units, the most important first.
        layers: the layer of each unit over all layers, the most important unit first (used by the global scope).
        scope: ``global`` ranks the units of all layers against each other, ``local`` those of each layer.
    """

    order: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    scope: Scope

    def counts(self, scale_percent: int) -> tuple[int, ...]:
        """How many units each layer keeps at a scale: a prefix of ``order``, so structures nest exactly."""
        if self.scope == "local":
            return tuple(_rounded_share(len(units), scale_percent) for units in self.order)
        kept = self.layers[: _rounded_share(len(self.layers), scale_percent)]
        return tuple(kept.count(layer) for layer in range(len(self.order)))

    def kept(self, scale_percent: int) -> frozenset[tuple[int, int]]:
        """The units that a scale keeps, as (layer, unit)."""
        counts = self.counts(scale_percent)
        return frozenset((layer, unit) for layer, units in enumerate(self.order) for unit in units[: counts[layer]])


@dataclass(frozen=True)
class Structure:
    """Heads and neurons kept in each layer, as prefixes of a ranking."""

    scale_percent: int
    heads: tuple[int, ...]
    neurons: tuple[int, ...]

    def is_within(self, larger: "Structure") -> bool:
        """Whether every layer keeps no more than in ``larger``: with prefixes, that is nesting."""
        return len(self.heads) == len(larger.heads) and all(
            small <= large
            for small, large in zip(self.heads + self.neurons, larger.heads + larger.neurons, strict=True)
        )


def rank_units(scores: Sequence[Tensor], scope: Scope) -> UnitRanking:
    """Rank units by importance, normalised per layer; ties go to the lower layer, then to the lower unit.

    Args:
        scores: for each layer its raw importance, (U,).
        scope: whether layers compete with each other.
    """
    normalised = [layer.tolist() for layer in normalise_layers(scores)]
    order = tuple(
        tuple(sorted(range(len(layer)), key=lambda unit, layer=layer: (-layer[unit], unit)))  # type: ignore[misc]
        for layer in normalised
    )
    everywhere = sorted(
        ((score, layer, unit) for layer, units in enumerate(normalised) for unit, score in enumerate(units)),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    return UnitRanking(order=order, layers=tuple(layer for _, layer, _ in everywhere), scope=scope)


def agreement(first: UnitRanking, second: UnitRanking, scale_percent: int) -> float:
    """Jaccard index, in [0, 1], of the units that two rankings keep at a scale; 1 if both keep none."""
    first_kept, second_kept = first.kept(scale_percent), second.kept(scale_percent)
    return len(first_kept & second_kept) / len(first_kept | second_kept) if first_kept | second_kept else 1.0


def structure_at(heads: UnitRanking, neurons: UnitRanking, scale_percent: int, neuron_multiple: int = 8) -> Structure:
    """The structure at a scale: each type pruned to the share, neurons rounded to a multiple layer by layer.

    Rounding a layer's count to the nearest multiple is monotone in the count, so nesting survives it; a layer may
    reach zero.

    Raises:
        ValueError: if the scale leaves no head in any layer.
    """
    head_counts = heads.counts(scale_percent)
    if not any(head_counts):
        total = sum(len(order) for order in heads.order)
        raise ValueError(
            f"at {scale_percent} percent no attention head is left in any layer ({total} in all, ranked "
            f"{'together' if heads.scope == 'global' else 'layer by layer'}); use a larger scale"
        )
    neuron_counts = tuple(
        _rounded_count(count, neuron_multiple, len(order))
        for count, order in zip(neurons.counts(scale_percent), neurons.order, strict=True)
    )
    return Structure(scale_percent, head_counts, neuron_counts)


def rank_among(ranking: UnitRanking, layers: Sequence[int]) -> UnitRanking:
    """The ranking of some layers' units among themselves; the layers are renumbered from 0."""
    numbers = {layer: number for number, layer in enumerate(layers)}
    return UnitRanking(
        order=tuple(ranking.order[layer] for layer in layers),
        layers=tuple(numbers[layer] for layer in ranking.layers if layer in numbers),
        scope=ranking.scope,
    )


def structure_of_layers(
    heads: UnitRanking,
    neurons: UnitRanking,
    layers: Sequence[int],
    width_percent: int,
    scale_percent: int,
    neuron_multiple: int = 8,
) -> Structure:
    """The structure of a model of some layers, each pruned in width.

    Args:
        heads: the larger model's ranking of heads.
        neurons: its ranking of neurons.
        layers: the layers taken; their units are ranked among themselves, so that the width is the share kept of them.
        width_percent: share kept of the taken layers' units.
        scale_percent: share kept of all layers' units, the structure's name.
        neuron_multiple: neurons of a layer are rounded to this.

    Raises:
        ValueError: if the width leaves no head in any layer.
    """
    taken = structure_at(rank_among(heads, layers), rank_among(neurons, layers), width_percent, neuron_multiple)
    return Structure(scale_percent, taken.heads, taken.neurons)


def narrowed(structure: Structure, source: Structure, layers: Sequence[int]) -> Structure:
    """The structure, limited in each layer to what a pruned source model still has.

    Args:
        structure: its layers stem from ``layers`` of the source, in this order.
        source: the source model's structure.
        layers: counted from 0.

    Raises:
        ValueError: if that leaves no head in any layer.
    """
    heads = tuple(min(count, source.heads[layer]) for count, layer in zip(structure.heads, layers, strict=True))
    neurons = tuple(min(count, source.neurons[layer]) for count, layer in zip(structure.neurons, layers, strict=True))
    if not any(heads):
        kept = ", ".join(str(layer + 1) for layer in layers)
        raise ValueError(f"the model at {source.scale_percent} percent kept no attention head in layers {kept}")
    return Structure(structure.scale_percent, heads, neurons)


def _rounded_share(total: int, scale_percent: int) -> int:
    return (2 * total * scale_percent + 100) // 200  # nearest, halves up, in integers


def _rounded_count(count: int, multiple: int, limit: int) -> int:
    if count == limit:
        return limit
    return min((2 * count + multiple) // (2 * multiple) * multiple, limit)
