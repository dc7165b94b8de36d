"""Gates on every head and every feed-forward neuron (MiniDisc, appendix A, equations 3 and 5).

B rows, L tokens, h heads, a head size, f neurons.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from minidisc_ray.models.families import encoder_layers, family_of, head_size, linear_at


class Gates:
    """Gates of one forward pass: for each layer, (B, h) and (B, f), one for each row."""

    def __init__(self, heads: list[Tensor], neurons: list[Tensor]) -> None:
        self.heads = heads
        self.neurons = neurons


@contextmanager
def gated(model: PreTrainedModel, gates: Gates) -> Iterator[None]:
    """Multiply heads and neurons by gates while the context is open.

    A head's gate multiplies its part of the input of the attention's output projection, a neuron's gate its
    activation: the same products as in equations 3 and 5.
    """
    family = family_of(model.config.model_type)
    width = head_size(model)
    handles: list[RemovableHandle] = []
    try:
        for layer, head_gate, neuron_gate in zip(encoder_layers(model), gates.heads, gates.neurons, strict=True):
            output = linear_at(layer, family.attention_output)
            down = linear_at(layer, family.down)
            handles.append(output.register_forward_pre_hook(_multiply(head_gate, width)))
            handles.append(down.register_forward_pre_hook(_multiply(neuron_gate, 1)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def open_gates(model: PreTrainedModel, rows: int) -> Gates:
    """Gates at one, one for each row, that collect gradients."""
    family = family_of(model.config.model_type)
    width = head_size(model)
    heads: list[Tensor] = []
    neurons: list[Tensor] = []
    for layer in encoder_layers(model):
        for units, found in (
            (linear_at(layer, family.attention_output).in_features // width, heads),
            (linear_at(layer, family.down).in_features, neurons),
        ):
            found.append(torch.ones(rows, units, device=model.device, requires_grad=True))
    return Gates(heads, neurons)


def _multiply(gate: Tensor, width: int):  # type: ignore[no-untyped-def]
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:  # noqa: ARG001
        (values,) = arguments  # (B, L, units * width)
        wide = gate.repeat_interleave(width, dim=-1) if width > 1 else gate
        return (values * wide.unsqueeze(1),)

    return hook
