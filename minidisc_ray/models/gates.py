"""Gates on every head and every feed-forward neuron (MiniDisc, appendix A, equations 3 and 5).

B rows, L tokens, h heads, a head size, f neurons.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from minidisc_ray.models.families import encoder_layers, family_of, head_size, linear_at
from minidisc_ray.models.pruned import structure_of


@dataclass(frozen=True)
class Gates:
    """Gates of one forward pass: for each layer, (B, h) and (B, f), one for each row."""

    heads: list[Tensor]
    neurons: list[Tensor]


@contextmanager
def gated(model: PreTrainedModel, gates: Gates) -> Iterator[None]:
    """Multiply heads and neurons by gates while the context is open.

    A head's gate multiplies its part of the input of the attention's output projection, a neuron's gate its
    activation: the same products as in equations 3 and 5.
    """
    family = family_of(model.config.model_type)
    width = head_size(model)
    with ExitStack() as hooks:
        for layer, head_gate, neuron_gate in zip(encoder_layers(model), gates.heads, gates.neurons, strict=True):
            output, down = linear_at(layer, family.attention_output), linear_at(layer, family.down)
            hooks.callback(output.register_forward_pre_hook(_multiply(head_gate, width)).remove)
            hooks.callback(down.register_forward_pre_hook(_multiply(neuron_gate, 1)).remove)
        yield


def open_gates(model: PreTrainedModel, rows: int) -> Gates:
    """Gates at one, one for each row, that collect gradients."""
    structure = structure_of(model.config)

    def ones(counts: tuple[int, ...]) -> list[Tensor]:
        return [torch.ones(rows, count, device=model.device, requires_grad=True) for count in counts]

    return Gates(ones(structure.heads), ones(structure.neurons))


def _multiply(gate: Tensor, width: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:  # noqa: ARG001
        (values,) = arguments  # (B, L, units * width)
        wide = gate.repeat_interleave(width, dim=-1) if width > 1 else gate
        return (values * wide.unsqueeze(1),)

    return hook
