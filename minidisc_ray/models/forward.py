"""One forward pass of any supported model, as a trace.

B rows, L tokens, D hidden size, C classes.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from minidisc_ray.core.trace import Batch, Trace
from minidisc_ray.models.families import family_of


def model_inputs(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """The keyword arguments of a model's forward pass."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.mask}
    if batch.token_types is not None and family_of(model.config.model_type).has_token_types:
        inputs["token_type_ids"] = batch.token_types
    return inputs


def run_model(model: PreTrainedModel, batch: Batch) -> Trace:
    """Run Hugging Face's own forward pass and keep the logits, (B, C), and the last hidden states, (B, L, D)."""
    hidden: list[Tensor] = []

    def keep(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001
        hidden.append(output[0])

    handle = model.base_model.register_forward_hook(keep)
    try:
        logits = model(**model_inputs(model, batch)).logits
    finally:
        handle.remove()
    return Trace(logits=logits, last_hidden=hidden[0])
