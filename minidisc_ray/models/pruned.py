"""Sequence classifiers whose layers have sizes of their own, loadable through Hugging Face's Auto classes.

``config.per_layer_config`` records the sizes; transformers builds nothing from it, so the classes here do: they build
the Hugging Face class as it is and then give each layer's Linears the recorded sizes. Nothing else is changed.

A layer may keep no head or no neuron. It then gives what gates at zero give: its output bias stays, followed by the
residual and the norm, ``LN(X + b)``. Deviation: the paper passes ``X`` through (appendix A).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.families import encoder_layers, family_of, global_size, head_size, linear_at
from minidisc_ray.models.registration import PRUNED_PREFIX


class PrunedBertConfig(BertConfig):
    """A BERT config with sizes for each layer."""

    model_type = PRUNED_PREFIX + "bert"


class PrunedRobertaConfig(RobertaConfig):
    """A RoBERTa config with sizes for each layer."""

    model_type = PRUNED_PREFIX + "roberta"


class PrunedElectraConfig(ElectraConfig):
    """An ELECTRA config with sizes for each layer."""

    model_type = PRUNED_PREFIX + "electra"


class PrunedDistilBertConfig(DistilBertConfig):
    """A DistilBERT config with sizes for each layer."""

    model_type = PRUNED_PREFIX + "distilbert"


class Headless(nn.Module):
    """Stands in for self-attention that kept no head: no values, only the output projection's bias, if it holds it.

    Keeps the names of the projections, now of zero size, so that weights load and slice as in any other layer.
    """

    def __init__(self, attention: nn.Module, output_name: str | None) -> None:
        nn.Module.__init__(self)
        for name, child in attention.named_children():
            self.add_module(name, child)
        self.config: Any = attention.config
        self._output_name = output_name

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        """Map (B, L, D) to values of width zero, or through the output projection to its bias, (B, L, D).

        Beside them, where other layers give attentions, those of its no heads, (B, 0, L, L).
        """
        rows, length = hidden_states.shape[:2]
        values = hidden_states.new_zeros((rows, length, 0))
        is_seen = self.config._attn_implementation == "eager"
        attentions = hidden_states.new_zeros((rows, 0, length, length)) if is_seen else None
        if self._output_name is None:
            return values, attentions
        return self.get_submodule(self._output_name)(values), attentions


def _without_heads(attention: nn.Module, output_name: str | None) -> Headless:
    """Of the attention's own class too, which is what transformers looks for when it collects attentions."""
    kind = type(f"Headless{type(attention).__name__}", (Headless, type(attention)), {})
    return cast(Headless, kind(attention, output_name))


class _PrunedMixin(PreTrainedModel):
    def __init__(self, config: PreTrainedConfig) -> None:
        # Hugging Face's constructors read one size for all layers: build with those, then cut to the recorded ones.
        dense = config.__class__.from_dict({**config.to_dict(), "per_layer_config": None})
        dense._attn_implementation = config._attn_implementation
        super().__init__(dense)
        self.name_or_path = config.name_or_path
        _resize(self, structure_of(config))
        for module in self.modules():
            if getattr(module, "config", None) is dense:
                module.config = config
        config._attn_implementation = dense._attn_implementation


class PrunedBertForSequenceClassification(_PrunedMixin, BertForSequenceClassification):
    """BERT with heads and neurons pruned layer by layer."""

    config_class = PrunedBertConfig


class PrunedRobertaForSequenceClassification(_PrunedMixin, RobertaForSequenceClassification):
    """RoBERTa with heads and neurons pruned layer by layer."""

    config_class = PrunedRobertaConfig


class PrunedElectraForSequenceClassification(_PrunedMixin, ElectraForSequenceClassification):
    """ELECTRA with heads and neurons pruned layer by layer."""

    config_class = PrunedElectraConfig


class PrunedDistilBertForSequenceClassification(_PrunedMixin, DistilBertForSequenceClassification):
    """DistilBERT with heads and neurons pruned layer by layer."""

    config_class = PrunedDistilBertConfig


PRUNED_CLASSES: dict[str, type[PreTrainedModel]] = {
    "bert": PrunedBertForSequenceClassification,
    "roberta": PrunedRobertaForSequenceClassification,
    "electra": PrunedElectraForSequenceClassification,
    "distilbert": PrunedDistilBertForSequenceClassification,
}


def _register() -> None:
    """Make the Auto classes know the pruned ones, in place of the proxies that the package registered."""
    for model_class in PRUNED_CLASSES.values():
        config_class = cast(type[PreTrainedConfig], model_class.config_class)
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModelForSequenceClassification.register(config_class, model_class, exist_ok=True)


def pruned_config(config: PreTrainedConfig, structure: Structure) -> PreTrainedConfig:
    """A dense or pruned model's config with a structure recorded in ``per_layer_config``.

    A structure of fewer layers gives the config of a model of fewer layers.
    """
    family = family_of(config.model_type)
    values = {key: value for key, value in config.to_dict().items() if key not in ("per_layer_config", "model_type")}
    values["per_layer_config"] = {
        layer: {family.heads_key: heads, family.neurons_key: neurons}
        for layer, (heads, neurons) in enumerate(zip(structure.heads, structure.neurons, strict=True))
    }
    values[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = len(structure.heads)
    model_class = PRUNED_CLASSES[family.name]
    values["architectures"] = [model_class.__name__]
    values["minidisc_scale_percent"] = structure.scale_percent
    return cast(type[PreTrainedConfig], model_class.config_class)(**values)


def structure_of(config: PreTrainedConfig) -> Structure:
    """The structure that a pruned config records; a dense one keeps everything."""
    family = family_of(config.model_type)
    heads = global_size(config, family.heads_key)
    neurons = global_size(config, family.neurons_key)
    overrides = config.to_dict().get("per_layer_config") or {}
    by_layer = {int(layer): sizes for layer, sizes in overrides.items()}
    layers = range(int(config.num_hidden_layers))
    return Structure(
        scale_percent=int(getattr(config, "minidisc_scale_percent", TEACHER_PERCENT)),
        heads=tuple(int(by_layer.get(layer, {}).get(family.heads_key, heads)) for layer in layers),
        neurons=tuple(int(by_layer.get(layer, {}).get(family.neurons_key, neurons)) for layer in layers),
    )


def _resize(model: PreTrainedModel, structure: Structure) -> None:
    family = family_of(model.config.model_type)
    width = head_size(model)
    for layer, heads, neurons in zip(encoder_layers(model), structure.heads, structure.neurons, strict=True):
        for name in family.inputs:
            _cut(layer, f"{family.attention}.{name}", rows=heads * width)
        _cut(layer, family.attention_output, columns=heads * width)
        _cut(layer, family.up, rows=neurons)
        _cut(layer, family.down, columns=neurons)
        if heads == 0:
            inside = family.attention_output.removeprefix(family.attention + ".")
            output_name = inside if inside != family.attention_output else None
            attention = layer.get_submodule(family.attention)
            parent, _, child = family.attention.rpartition(".")
            setattr(layer.get_submodule(parent), child, _without_heads(attention, output_name))


def _cut(layer: nn.Module, path: str, rows: int | None = None, columns: int | None = None) -> None:
    linear = linear_at(layer, path)
    with torch.no_grad():
        linear.weight = nn.Parameter(linear.weight[:rows, :columns].clone())
        if rows is not None and linear.bias is not None:
            linear.bias = nn.Parameter(linear.bias[:rows].clone())
    linear.out_features, linear.in_features = linear.weight.shape


_register()
