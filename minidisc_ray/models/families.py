"""Which Linear is a head or a neuron, family by family; everything else reads Hugging Face's modules as they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.models.modeling_minidisc import BERT_LAYOUT, DISTILBERT_LAYOUT, Layout
from minidisc_ray.models.registration import PRUNED_PREFIX


@dataclass(frozen=True)
class Family(Layout):
    """A layout with what counting needs.

    Attributes:
        name: ``model_type`` of the dense model.
        head_linears: paths, in the whole model, of pooler and classifier Linears.
        has_token_types: whether the forward pass takes segment ids.
    """

    name: str = ""
    head_linears: tuple[str, ...] = ()
    has_token_types: bool = True


def _family(layout: Layout, name: str, head_linears: tuple[str, ...], has_token_types: bool = True) -> Family:
    return Family(**vars(layout), name=name, head_linears=head_linears, has_token_types=has_token_types)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _family(BERT_LAYOUT, "bert", ("bert.pooler.dense", "classifier")),
        _family(BERT_LAYOUT, "roberta", ("classifier.dense", "classifier.out_proj")),
        _family(BERT_LAYOUT, "electra", ("classifier.dense", "classifier.out_proj")),
        _family(DISTILBERT_LAYOUT, "distilbert", ("pre_classifier", "classifier"), has_token_types=False),
    )
}


def family_of(model_type: str, section: str = "teacher") -> Family:
    """The family of a dense or pruned model's ``model_type``.

    Args:
        model_type: of its config.
        section: of the recipe that names the model, for the message.

    Raises:
        UserError: if it is not supported.
    """
    family = FAMILIES.get(model_type.removeprefix(PRUNED_PREFIX))
    if family is None:
        raise UserError(
            f"{section}.path: a model of type {model_type!r} is not supported; use one of {', '.join(sorted(FAMILIES))}"
        )
    return family


def encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The encoder's layers, bottom first."""
    layers = model.base_model.get_submodule(family_of(model.config.model_type).layers)
    assert isinstance(layers, nn.ModuleList)
    return list(layers)


def linear_at(module: nn.Module, path: str) -> nn.Linear:
    """The Linear at a path."""
    linear = module.get_submodule(path)
    assert isinstance(linear, nn.Linear), path
    return linear


def head_size(model: PreTrainedModel) -> int:
    """Width of one attention head; pruning never changes it."""
    config = model.config
    family = family_of(config.model_type)
    return int(config.hidden_size) // int(getattr(config, family.heads_key))


def num_token_types(config: PreTrainedConfig) -> int:
    """How many kinds of tokens a model tells apart: those of a first and a second text, as a rule."""
    return int(config.type_vocab_size) if family_of(config.model_type).has_token_types else 0


def shape_of(model: PreTrainedModel) -> EncoderShape:
    """Sizes of the unpruned model that a dense or pruned model stems from, as far as counting needs them."""
    config = model.config
    family = family_of(config.model_type)
    layers = encoder_layers(model)
    in_layers = {id(parameter) for layer in layers for parameter in layer.parameters()}
    projection = getattr(model.base_model, "embeddings_project", None)
    linears = [linear_at(model, path) for path in family.head_linears]
    return EncoderShape(
        num_layers=len(layers),
        hidden_size=int(config.hidden_size),
        num_heads=getattr(config, family.heads_key),
        head_size=head_size(model),
        intermediate_size=getattr(config, family.neurons_key),
        embedding_projection=projection.in_features if isinstance(projection, nn.Linear) else 0,
        head_macs_per_row=sum(linear.in_features * linear.out_features for linear in linears),
        other_parameters=sum(p.numel() for p in model.parameters() if id(p) not in in_layers),
    )
