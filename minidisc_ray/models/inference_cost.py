"""What a model costs at inference: its parameters by part, multiply-adds as PyTorch counts them, and measured latency.

B rows, L tokens.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from minidisc_ray.models.families import encoder_layers

# The first rounds allocate memory and choose kernels; later ones reuse both.
WARM_UP_ROUNDS = 3
Inputs = Mapping[str, Tensor]
# An untimed pass and the timed one.
PassPair = tuple[Callable[[], object], Callable[[], object]]


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters by part.

    Attributes:
        encoder: of the encoder's layers, what a scale prunes.
        embedding: of the embeddings with their norm, and of the Linear to the hidden size where there is one (ELECTRA).
        other: the rest, which is pooler and classifier.
    """

    encoder: int
    embedding: int
    other: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.encoder + self.embedding + self.other


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass: the median of repeats, and their 10th and 90th percentile."""

    median_ms: float
    p10_ms: float
    p90_ms: float


def parameter_counts(model: PreTrainedModel) -> ParameterCounts:
    """Count every parameter once, in the part that holds it."""
    names = ("embeddings", "embeddings_project")
    parts = [part for name, part in model.base_model.named_children() if name in names]
    encoder = sum(parameter.numel() for layer in encoder_layers(model) for parameter in layer.parameters())
    embedding = sum(parameter.numel() for part in parts for parameter in part.parameters())
    total = sum(parameter.numel() for parameter in model.parameters())
    return ParameterCounts(encoder, embedding, total - encoder - embedding)


def random_inputs(rows: int, length: int, vocabulary_size: int, seed: int = 0) -> dict[str, Tensor]:
    """Token ids drawn from the vocabulary, (B, L), under a mask without padding, (B, L); both int64."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary_size, (rows, length), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def counted_macs(model: PreTrainedModel, inputs: Inputs) -> int:
    """Multiply-adds of the matrix products of one forward pass, by ``torch.utils.flop_counter``."""
    # The counter does not see fused attention on CPUs; the MATH backend computes the same products one by one.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
        model(**inputs)
    return int(counter.get_total_flops()) // 2


@torch.inference_mode()
def time_in_turns(models: Sequence[PreTrainedModel], inputs: Inputs, repeats: int) -> list[Latency]:
    """Time forward passes of models on one device; they take turns, so that noise affects all alike.

    An untimed pass of a single row precedes each timed one, since the previous model has filled the caches with its
    weights; a model that serves alone finds its own there.

    Args:
        models: in eval mode.
        inputs: those of one forward pass, (B, L) each, on any device.
        repeats: timed passes of each model, after the rounds that warm up.
    """
    device = models[0].device
    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
    one_row = {name: tensor[:1] for name, tensor in inputs.items()}

    def passes(model: PreTrainedModel) -> PassPair:
        def one_pass(given: Inputs) -> None:
            model(**given)
            _wait_for(device)

        return partial(one_pass, one_row), partial(one_pass, inputs)

    return [_latency(taken) for taken in milliseconds_in_turns([passes(model) for model in models], repeats)]


def milliseconds_in_turns(passes: Sequence[PassPair], repeats: int) -> list[list[float]]:
    """Milliseconds of the timed passes of each of several pairs, which take turns; warm-up rounds are left out.

    Args:
        passes: pairs of an untimed pass, which loads the weights into the caches, and the timed one.
        repeats: timed passes of each pair.
    """
    milliseconds: list[list[float]] = [[] for _ in passes]
    for _ in range(WARM_UP_ROUNDS + repeats):
        for (warm, timed), taken in zip(passes, milliseconds, strict=True):
            warm()
            started = time.perf_counter()
            timed()
            taken.append(1000 * (time.perf_counter() - started))
    return [taken[WARM_UP_ROUNDS:] for taken in milliseconds]


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Set the number of PyTorch's CPU threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _latency(milliseconds: Sequence[float]) -> Latency:
    p10, median, p90 = np.quantile(milliseconds, (0.1, 0.5, 0.9))
    return Latency(float(median), float(p10), float(p90))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
