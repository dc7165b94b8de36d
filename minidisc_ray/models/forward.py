"""One forward pass of any supported model, with the outputs that are wanted.

B rows, L tokens, D hidden size, W width of one projection, C classes.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from minidisc_ray.core.trace import Batch, Trace, Wanted
from minidisc_ray.models.dropout import ATTENTION_NAME
from minidisc_ray.models.families import encoder_layers, family_of, num_token_types

LOGITS = Wanted(logits=True)
# Attention implementations that take a boolean mask, True for real keys.
_WITH_BOOLEAN_MASK = ("sdpa", ATTENTION_NAME)


def model_inputs(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """The keyword arguments of a model's forward pass."""
    inputs = {"input_ids": batch.input_ids}
    mask = _attention_mask(model, batch)
    if mask is not None:
        inputs["attention_mask"] = mask
    # A model with one segment id (RoBERTa) has no embedding for the second one that a tokenizer may give.
    if batch.token_types is not None and num_token_types(model.config) > 1:
        inputs["token_type_ids"] = batch.token_types
    return inputs


def run_model(model: PreTrainedModel, batch: Batch, wanted: Wanted = LOGITS) -> Trace:
    """Run Hugging Face's own forward pass and keep the logits, (B, C), and what else is wanted.

    Hidden states are (B, L, D); queries, keys and values are (B, L, W), of width 0 where a layer kept no head.
    """
    layers = encoder_layers(model)
    family = family_of(model.config.model_type)
    hidden: dict[int, Tensor] = {}
    projections: tuple[dict[int, Tensor], ...] = ({}, {}, {})
    with ExitStack() as hooks:
        for layer in wanted.hidden:
            if layer == 0:
                handle = layers[0].register_forward_pre_hook(_keep_input(hidden), with_kwargs=True)
            else:
                handle = layers[layer - 1].register_forward_hook(_keep_output(hidden, layer))
            hooks.callback(handle.remove)
        wanted_projections = (wanted.queries, wanted.keys, wanted.values)
        for name, wanted_layers, kept in zip(family.inputs, wanted_projections, projections, strict=True):
            for layer in wanted_layers:
                linear = layers[layer - 1].get_submodule(f"{family.attention}.{name}")
                hooks.callback(linear.register_forward_hook(_keep_output(kept, layer)).remove)
        logits: Tensor = model(**model_inputs(model, batch)).logits
    for wanted_layers, kept in zip(wanted_projections, projections, strict=True):
        for layer in wanted_layers - kept.keys():
            # A layer that kept no head never calls its projections.
            kept[layer] = logits.new_zeros(batch.rows, batch.length, 0)
    return Trace(logits, hidden, *projections)


def _attention_mask(model: PreTrainedModel, batch: Batch) -> Tensor | None:
    """The batch's mask, (B, L); if ``has_padding`` is known, the keys' mask, (B, 1, L, L), or None without padding.

    From (B, L) transformers would make the same, but reads the mask's values in every forward pass, for which the host
    waits for a GPU.
    """
    if batch.has_padding is None or model.config._attn_implementation not in _WITH_BOOLEAN_MASK:
        return batch.mask
    if not batch.has_padding:
        return None
    return batch.mask.bool()[:, None, None, :].expand(-1, 1, batch.length, -1)


def _keep_input(kept: dict[int, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:  # noqa: ARG001
        kept[0] = arguments[0] if arguments else keywords["hidden_states"]

    return hook


def _keep_output(kept: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001
        kept[layer] = output if isinstance(output, Tensor) else output[0]

    return hook
