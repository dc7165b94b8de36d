"""Which Linear is a head or a neuron, family by family; all other code uses Hugging Face's modules as they are."""

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
    """A layout, with what the forward pass and the counting of FLOPs need.

    Attributes:
        name: ``model_type`` of the dense model.
        head_linears: paths, in the whole model, of pooler and classifier Linears.
        has_token_types: whether the forward pass takes segment ids.
    """

    name: str = ""
    head_linears: tuple[str, ...] = ()
    has_token_types: bool = True


_BERT, _DISTILBERT = vars(BERT_LAYOUT), vars(DISTILBERT_LAYOUT)
FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(**_BERT, name="bert", head_linears=("bert.pooler.dense", "classifier")),
        Family(**_BERT, name="roberta", head_linears=("classifier.dense", "classifier.out_proj")),
        Family(**_BERT, name="electra", head_linears=("classifier.dense", "classifier.out_proj")),
        Family(**_DISTILBERT, name="distilbert", head_linears=("pre_classifier", "classifier"), has_token_types=False),
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
    """How many segment ids a model has embeddings for: as a rule two, for a first and a second text; else 1 or 0."""
    return int(config.type_vocab_size) if family_of(config.model_type).has_token_types else 0


def shape_of(model: PreTrainedModel) -> EncoderShape:
    """Sizes of the unpruned model that a dense or pruned model stems from, for counting parameters and FLOPs."""
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
