"""Cuts smaller models out of larger ones; the weights that they keep are unchanged."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from minidisc_ray.core.structure import Structure, UnitRanking
from minidisc_ray.models.families import encoder_layers, family_of, head_size, linear_at
from minidisc_ray.models.pruned import PRUNED_CLASSES, pruned_config, structure_of


@torch.no_grad()
def reorder_(model: PreTrainedModel, heads: UnitRanking, neurons: UnitRanking) -> None:
    """Put each layer's most important heads and neurons first, in place; the function computed stays the same.

    After this a structure is a prefix of every weight, and smaller structures are prefixes of larger ones.
    """
    family = family_of(model.config.model_type)
    width = head_size(model)
    for layer, head_order, neuron_order in zip(encoder_layers(model), heads.order, neurons.order, strict=True):
        rows = (torch.tensor(head_order).unsqueeze(1) * width + torch.arange(width)).flatten()
        for name in family.inputs:
            linear = linear_at(layer, f"{family.attention}.{name}")
            _permute_rows_(linear.weight, rows)
            _permute_rows_(linear.bias, rows)
        _permute_columns_(linear_at(layer, family.attention_output).weight, rows)
        up, down = linear_at(layer, family.up), linear_at(layer, family.down)
        _permute_rows_(up.weight, neuron_order)
        _permute_rows_(up.bias, neuron_order)
        _permute_columns_(down.weight, neuron_order)


def cut(model: PreTrainedModel, structure: Structure) -> PreTrainedModel:
    """An independent dense model that keeps a prefix of every weight; ``model`` must be in order and larger.

    Args:
        model: a reordered dense model, or a pruned one that stems from it.
        structure: what to keep; it nests in the model's own structure.
    """
    assert structure.is_within(structure_of(model.config)), "a structure can only be cut from a larger one"
    return _smaller(model, structure, range(len(structure.heads)))


def take_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """An independent model of some of a model's layers, each as wide as it was; all else is copied.

    Args:
        model: a dense or pruned model.
        kept: the layers, bottom first, counted from 0.
    """
    whole = structure_of(model.config)
    assert kept, "a model has layers"
    assert list(kept) == sorted(set(kept) & set(range(len(whole.heads)))), "layers have to exist and be in order"
    structure = Structure(
        whole.scale_percent,
        heads=tuple(whole.heads[layer] for layer in kept),
        neurons=tuple(whole.neurons[layer] for layer in kept),
    )
    return _smaller(model, structure, kept)


def prefix(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The view of the first entries of every dimension."""
    return tensor[tuple(slice(0, size) for size in shape)]


@torch.no_grad()
def _smaller(model: PreTrainedModel, structure: Structure, layers: Sequence[int]) -> PreTrainedModel:
    """A model of a structure, with prefixes of the weights of the given layers of ``model`` and of all else."""
    family = family_of(model.config.model_type)
    smaller = PRUNED_CLASSES[family.name](pruned_config(model.config, structure))
    source = dict(model.named_parameters())
    stem = f"{model.base_model_prefix}.{family.layers}."
    for name, parameter in smaller.named_parameters():
        parameter.copy_(prefix(source[_source_name(name, stem, layers)], parameter.shape))
    return smaller.to(device=model.device, dtype=model.dtype).train(model.training)


def _source_name(name: str, stem: str, layers: Sequence[int]) -> str:
    """A parameter's name in the model that the layers are taken from."""
    if not name.startswith(stem):
        return name
    layer, _, rest = name.removeprefix(stem).partition(".")
    return f"{stem}{layers[int(layer)]}.{rest}"


def _permute_rows_(tensor: Tensor, order: Sequence[int] | Tensor) -> None:
    tensor.copy_(tensor[torch.as_tensor(order, device=tensor.device)])


def _permute_columns_(tensor: Tensor, order: Sequence[int] | Tensor) -> None:
    tensor.copy_(tensor[:, torch.as_tensor(order, device=tensor.device)])
