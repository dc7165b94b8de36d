"""One set of weights, many sizes: every candidate is a Hugging Face model whose parameters are views of shared ones.

A candidate's parameter is a leaf that aliases a prefix of the shared parameter; a hook adds its gradient, which has
the slice's size, to the same prefix of the shared gradient. Nothing outside a slice is changed, and no tensor of full
size is allocated for a slice. All shared gradients are views of one flat buffer: clearing, clipping and reducing over
workers are one operation each.

B rows, L tokens, D hidden size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from minidisc_ray.core.structure import Structure
from minidisc_ray.core.trace import Batch, Trace, Wanted
from minidisc_ray.models.families import family_of
from minidisc_ray.models.forward import LOGITS, model_inputs, run_model
from minidisc_ray.models.pruned import PRUNED_CLASSES, pruned_config
from minidisc_ray.models.surgery import prefix


class FlatGradients:
    """Gradients of all trainable parameters as views of one buffer; empty parameters have none.

    A layer without heads or neurons has empty parameters. Their strides are not those of an empty gradient, which is
    an error in the fused AdamW on a GPU.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self.parameters]
        first = self.parameters[0] if self.parameters else torch.empty(0)
        self.buffer = torch.zeros(sum(sizes), dtype=first.dtype, device=first.device)
        for parameter, gradient in zip(self.parameters, self.buffer.split(sizes), strict=True):
            if parameter.numel():
                parameter.grad = gradient.view_as(parameter)

    def zero_(self) -> None:
        """Clear every gradient."""
        self.buffer.zero_()


class _GivenEmbeddings(nn.Module):
    """Returns the embeddings that were computed once for all candidates."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ARG002
        assert self.output is not None
        return self.output


class ElasticModel:
    """Shared weights, and the candidates that are slices of them.

    Args:
        shared: the largest candidate; smaller ones are prefixes of its weights.
        structures: the candidates by scale percent, each nested in ``shared``'s structure.
    """

    def __init__(self, shared: PreTrainedModel, structures: Mapping[int, Structure]) -> None:
        self.shared = shared
        self.structures = dict(structures)
        self.gradients = FlatGradients(shared)
        self._embeddings = _GivenEmbeddings()
        self._active = {scale: self._alias(structure) for scale, structure in self.structures.items()}

    def embed(self, batch: Batch) -> Tensor:
        """The embedding output, (B, L, D), which is the same for every candidate of one step."""
        base = self.shared.base_model
        inputs = model_inputs(self.shared, batch)
        inputs.pop("attention_mask", None)
        embedded: Tensor = base.embeddings(**inputs)
        projection = getattr(base, "embeddings_project", None)
        if projection is not None:
            embedded = projection(embedded)
        return embedded

    def run(self, scale_percent: int, embedded: Tensor, batch: Batch, wanted: Wanted = LOGITS) -> Trace:
        """One candidate's outputs from given embeddings, (B, L, D)."""
        self._embeddings.output = embedded
        try:
            return run_model(self._active[scale_percent], batch, wanted)
        finally:
            self._embeddings.output = None

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off everywhere."""
        self.shared.train(mode)
        for candidate in self._active.values():
            candidate.train(mode)

    def _alias(self, structure: Structure) -> PreTrainedModel:
        """A candidate whose parameters are views of the shared ones."""
        with torch.device("meta"):
            candidate = PRUNED_CLASSES[family_of(self.shared.config.model_type).name](
                pruned_config(self.shared.config, structure)
            )
        candidate.config._attn_implementation = self.shared.config._attn_implementation
        candidate.base_model.embeddings = self._embeddings
        if hasattr(candidate.base_model, "embeddings_project"):
            candidate.base_model.embeddings_project = nn.Identity()
        dropouts = {
            name: module for name, module in self.shared.named_modules() if "dropout" in name.rpartition(".")[2]
        }
        for path, module in list(candidate.named_modules()):
            parent, _, name = path.rpartition(".")
            if path in dropouts:
                setattr(candidate.get_submodule(parent), name, _new_dropout(dropouts[path]))
            for parameter_name, parameter in list(module.named_parameters(recurse=False)):
                full = self.shared.get_parameter(f"{path}.{parameter_name}" if path else parameter_name)
                alias = nn.Parameter(prefix(full.data, parameter.shape), requires_grad=full.requires_grad)
                if full.grad is not None:
                    alias.register_post_accumulate_grad_hook(_add_to(prefix(full.grad, parameter.shape)))
                setattr(module, parameter_name, alias)
        return candidate.train(self.shared.training)


def _add_to(shared_gradient: Tensor) -> Callable[[Tensor], None]:
    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None
        shared_gradient.add_(parameter.grad)
        parameter.grad = None

    return add


def _new_dropout(dropout: nn.Module) -> nn.Module:
    """A dropout of the same kind and rate: candidates must not share a module, since hooks and modes are per module."""
    probability = dropout.p
    assert isinstance(probability, float)
    return type(dropout)(probability)
