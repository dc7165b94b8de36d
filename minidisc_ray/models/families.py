"""Which Linear is a head or a neuron, family by family; everything else reads Hugging Face's modules as they are."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.models.registration import PRUNED_PREFIX


@dataclass(frozen=True)
class Family:
    """Paths of the parts of a model, and the config keys of their sizes.

    Attributes:
        name: ``model_type`` of the dense model.
        layers: path of the list of encoder layers, from the base model.
        attention: path, in a layer, of the module that splits its input into heads.
        inputs: names, in ``attention``, of the projections whose rows belong to heads.
        attention_output: path, in a layer, of the projection whose columns belong to heads.
        up, down: paths, in a layer, of the Linears whose rows and columns are the feed-forward neurons.
        heads_key, neurons_key: names of the sizes in the config.
        head_linears: paths, in the whole model, of pooler and classifier Linears, for counting.
        has_token_types: whether the forward pass takes segment ids.
    """

    name: str
    layers: str
    attention: str
    inputs: tuple[str, str, str]
    attention_output: str
    up: str
    down: str
    heads_key: str
    neurons_key: str
    head_linears: tuple[str, ...]
    has_token_types: bool = True


def _bert_like(name: str, head_linears: tuple[str, ...]) -> Family:
    return Family(
        name=name,
        layers="encoder.layer",
        attention="attention.self",
        inputs=("query", "key", "value"),
        attention_output="attention.output.dense",
        up="intermediate.dense",
        down="output.dense",
        heads_key="num_attention_heads",
        neurons_key="intermediate_size",
        head_linears=head_linears,
    )


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _bert_like("bert", ("bert.pooler.dense", "classifier")),
        _bert_like("roberta", ("classifier.dense", "classifier.out_proj")),
        _bert_like("electra", ("classifier.dense", "classifier.out_proj")),
        Family(
            name="distilbert",
            layers="transformer.layer",
            attention="attention",
            inputs=("q_lin", "k_lin", "v_lin"),
            attention_output="attention.out_lin",
            up="ffn.lin1",
            down="ffn.lin2",
            heads_key="n_heads",
            neurons_key="hidden_dim",
            head_linears=("pre_classifier", "classifier"),
            has_token_types=False,
        ),
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
    return int(config.hidden_size) // int(global_size(config, family.heads_key))


def global_size(config: object, key: str) -> int:
    """A size of the unpruned model, also where the config records other sizes for some layers."""
    return int(vars(config)[key])


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
        num_heads=global_size(config, family.heads_key),
        head_size=head_size(model),
        intermediate_size=global_size(config, family.neurons_key),
        embedding_projection=projection.in_features if isinstance(projection, nn.Linear) else 0,
        head_macs_per_row=sum(linear.in_features * linear.out_features for linear in linears),
        other_parameters=sum(p.numel() for p in model.parameters() if id(p) not in in_layers),
    )
