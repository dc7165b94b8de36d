"""Encoders whose layers have sizes of their own: BERT, RoBERTa, ELECTRA and DistilBERT with pruned heads and neurons.

``config.minidisc_layers`` records the heads and neurons of each layer. The classes here build Hugging Face's as they
are and then give Linears the recorded sizes. A layer may keep no head or no neuron. It then computes the same as
with gates at zero: the output bias, the residual and the norm, ``LN(X + b)``. Deviation: the paper passes ``X`` through
(MiniDisc, appendix A). This file imports torch and transformers alone. Saved models have a copy of it, from which
``trust_remote_code=True`` loads them where minidisc_ray is not installed.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Layout:
    """Paths of the parts of a model, and the config keys of their sizes."""

    layers: str = "encoder.layer"  # from the base model; the other paths are from a layer
    attention: str = "attention.self"  # what splits its input into heads
    inputs: tuple[str, str, str] = ("query", "key", "value")  # in `attention`; their rows belong to heads
    attention_output: str = "attention.output.dense"  # its columns belong to heads
    up: str = "intermediate.dense"  # its rows are neurons
    down: str = "output.dense"  # its columns are
    heads_key: str = "num_attention_heads"
    neurons_key: str = "intermediate_size"


BERT_LAYOUT = Layout()
DISTILBERT_LAYOUT = Layout(
    layers="transformer.layer",
    attention="attention",
    inputs=("q_lin", "k_lin", "v_lin"),
    attention_output="attention.out_lin",
    up="ffn.lin1",
    down="ffn.lin2",
    heads_key="n_heads",
    neurons_key="hidden_dim",
)


def layer_sizes(config: PreTrainedConfig, layout: Layout) -> list[tuple[int, int]]:
    """Heads and neurons of each layer: as recorded, else all."""
    whole = (getattr(config, layout.heads_key), getattr(config, layout.neurons_key))
    recorded = getattr(config, "minidisc_layers", None) or [whole] * int(config.num_hidden_layers)
    return [(int(heads), int(neurons)) for heads, neurons in recorded[: int(config.num_hidden_layers)]]


class Headless(nn.Module):
    """Replaces self-attention that kept no head; gives the output projection's bias where it has that projection."""

    def __init__(self, attention: nn.Module, output_name: str | None) -> None:
        nn.Module.__init__(self)
        for name, child in attention.named_children():
            self.add_module(name, child)
        self.config: Any = attention.config
        self._output_name = output_name

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        """Values of width 0, (B, L, 0), or the bias, (B, L, D); and attentions, (B, 0, L, L), if they are eager."""
        rows, length = hidden_states.shape[:2]
        values = hidden_states.new_zeros((rows, length, 0))
        is_eager = self.config._attn_implementation == "eager"
        attentions = hidden_states.new_zeros((rows, 0, length, length)) if is_eager else None
        if self._output_name is None:
            return values, attentions
        return self.get_submodule(self._output_name)(values), attentions


def _without_heads(attention: nn.Module, output_name: str | None) -> Headless:
    # A subclass of the attention's class too: transformers looks for that class when it collects attentions.
    kind = type(f"Headless{type(attention).__name__}", (Headless, type(attention)), {})
    return cast(Headless, kind(attention, output_name))


class _Pruned(PreTrainedModel):
    layout = BERT_LAYOUT

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        # Hugging Face's constructors read one size for all layers: build with those, then cut to the recorded ones.
        super().__init__(config, *args, **kwargs)
        _resize(self, layer_sizes(config, self.layout), self.layout)


def auto_map_of(config_class: type[PreTrainedConfig]) -> dict[str, str]:
    """Auto classes to the classes of this file."""
    stem = f"modeling_minidisc.{config_class.__name__.removesuffix('Config')}"
    heads = {f"AutoModel{head}": stem + head for head in ("ForSequenceClassification", "ForTokenClassification")}
    return {"AutoConfig": f"{stem}Config", "AutoModel": f"{stem}Model", **heads}


class _PrunedConfig(PreTrainedConfig):
    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read also the configs of older models, whose sizes are in ``per_layer_config``."""
        values = {**config_dict, "auto_map": auto_map_of(cls)}
        if by_layer := values.pop("per_layer_config", None):
            layout = DISTILBERT_LAYOUT if "n_layers" in values else BERT_LAYOUT
            layers = range(values.get("n_layers") or values["num_hidden_layers"])
            sizes = [{**values, **(by_layer.get(layer) or by_layer.get(str(layer), {}))} for layer in layers]
            values["minidisc_layers"] = [[found[layout.heads_key], found[layout.neurons_key]] for found in sizes]
        return super().from_dict(values, **kwargs)


def _resize(model: PreTrainedModel, sizes: list[tuple[int, int]], layout: Layout) -> None:
    layers = cast(nn.ModuleList, model.base_model.get_submodule(layout.layers))
    width = int(model.config.hidden_size) // int(getattr(model.config, layout.heads_key))
    for layer, (heads, neurons) in zip(layers, sizes, strict=True):
        for name in layout.inputs:
            _cut(layer, f"{layout.attention}.{name}", rows=heads * width)
        _cut(layer, layout.attention_output, columns=heads * width)
        _cut(layer, layout.up, rows=neurons)
        _cut(layer, layout.down, columns=neurons)
        if heads == 0:
            inside = layout.attention_output.removeprefix(layout.attention + ".")
            output_name = inside if inside != layout.attention_output else None
            attention = layer.get_submodule(layout.attention)
            parent, _, child = layout.attention.rpartition(".")
            setattr(layer.get_submodule(parent), child, _without_heads(attention, output_name))


def _cut(layer: nn.Module, path: str, rows: int | None = None, columns: int | None = None) -> None:
    linear = cast(nn.Linear, layer.get_submodule(path))
    with torch.no_grad():
        linear.weight = nn.Parameter(linear.weight[:rows, :columns].clone())
        if rows is not None and linear.bias is not None:
            linear.bias = nn.Parameter(linear.bias[:rows].clone())
    linear.out_features, linear.in_features = linear.weight.shape


class PrunedBertConfig(_PrunedConfig, transformers.BertConfig):
    model_type = "minidisc_bert"


class PrunedBertModel(_Pruned, transformers.BertModel):
    config_class = PrunedBertConfig


class PrunedBertForSequenceClassification(_Pruned, transformers.BertForSequenceClassification):
    config_class = PrunedBertConfig


class PrunedBertForTokenClassification(_Pruned, transformers.BertForTokenClassification):
    config_class = PrunedBertConfig


class PrunedRobertaConfig(_PrunedConfig, transformers.RobertaConfig):
    model_type = "minidisc_roberta"


class PrunedRobertaModel(_Pruned, transformers.RobertaModel):
    config_class = PrunedRobertaConfig


class PrunedRobertaForSequenceClassification(_Pruned, transformers.RobertaForSequenceClassification):
    config_class = PrunedRobertaConfig


class PrunedRobertaForTokenClassification(_Pruned, transformers.RobertaForTokenClassification):
    config_class = PrunedRobertaConfig


class PrunedElectraConfig(_PrunedConfig, transformers.ElectraConfig):
    model_type = "minidisc_electra"


class PrunedElectraModel(_Pruned, transformers.ElectraModel):
    config_class = PrunedElectraConfig


class PrunedElectraForSequenceClassification(_Pruned, transformers.ElectraForSequenceClassification):
    config_class = PrunedElectraConfig


class PrunedElectraForTokenClassification(_Pruned, transformers.ElectraForTokenClassification):
    config_class = PrunedElectraConfig


class PrunedDistilBertConfig(_PrunedConfig, transformers.DistilBertConfig):
    model_type = "minidisc_distilbert"


class PrunedDistilBertModel(_Pruned, transformers.DistilBertModel):
    config_class = PrunedDistilBertConfig
    layout = DISTILBERT_LAYOUT


class PrunedDistilBertForSequenceClassification(_Pruned, transformers.DistilBertForSequenceClassification):
    config_class = PrunedDistilBertConfig
    layout = DISTILBERT_LAYOUT


class PrunedDistilBertForTokenClassification(_Pruned, transformers.DistilBertForTokenClassification):
    config_class = PrunedDistilBertConfig
    layout = DISTILBERT_LAYOUT
