"""Importance of every head and neuron: over training rows (MiniDisc, appendix A, equations 6 and 8), or of weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from minidisc_ray.core.flops import inference_flops
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows, collate, evaluation_batches
from minidisc_ray.models.families import encoder_layers, family_of, head_size, linear_at, shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.gates import gated, open_gates
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.objectives import label_loss_sum
from minidisc_ray.training.predict import to_device
from minidisc_ray.training.workers import Workers

BATCH_SIZE = 32
# Two halves of a sample agree if the Jaccard index of the units that they keep is at least this.
STABLE_AGREEMENT = 0.75
_FIRST_ROWS = 128


def absolute_gradient_sum(gate_gradient: Tensor) -> Tensor:
    """Sum over rows of ``|dL(x, y) / d gate|``.

    With one gate for each row and the loss summed over rows, row ``b`` of the gradient is exactly the gradient of
    that row's own loss, so one backward pass gives the expectation of *absolute per-example* gradients.

    Args:
        gate_gradient: (B, U), of B rows and U units of one type in a layer: the gradient with respect to one gate for
            each row and unit.

    Returns:
        (U,) in float64, so that the order of many small additions does not matter.
    """
    return gate_gradient.detach().to(torch.float64).abs().sum(dim=0)


@dataclass(frozen=True)
class Importance:
    """Importance of units, for each layer (h,) and (f,), in float64 and not normalised; and the FLOPs that it took."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]
    flops: float


@torch.no_grad()
def weight_magnitudes(model: PreTrainedModel) -> Importance:
    """Sums of absolute weights of every head's and neuron's own rows and columns; reads no row and costs nothing.

    After Li et al. 2017 (Pruning Filters for Efficient ConvNets), a unit's l1 norm; layers are normalised afterwards
    as with gradients.
    """
    family, width = family_of(model.config.model_type), head_size(model)
    heads, neurons = [], []
    for layer in encoder_layers(model):
        attention = layer.get_submodule(family.attention)
        rows = sum(linear_at(attention, name).weight.double().abs().sum(dim=1) for name in family.inputs)
        columns = linear_at(layer, family.attention_output).weight.double().abs().sum(dim=0)
        heads.append((rows + columns).view(-1, width).sum(dim=1).cpu())
        up, down = linear_at(layer, family.up).weight.double(), linear_at(layer, family.down).weight.double()
        neurons.append((up.abs().sum(dim=1) + down.abs().sum(dim=0)).cpu())
    return Importance(tuple(heads), tuple(neurons), 0.0)


@dataclass(frozen=True)
class SampledImportance:
    """Importance over a sample.

    Attributes:
        importance: over the whole sample.
        num_rows: rows of the sample.
        agreement: Jaccard index of the units that its two halves keep.
    """

    importance: Importance
    num_rows: int
    agreement: float


def measure_until_stable(
    measure: Callable[[Tensor], Importance],
    order: Tensor,  # (N,) all rows, shuffled
    agreement_of: Callable[[Importance, Importance], float],
) -> SampledImportance:
    """Importance over a growing sample, until its two halves keep the same units or no rows are left.

    The paper uses all rows. Here the sample starts with 128 and doubles.

    Args:
        measure: importance over the rows at some positions.
        order: every row once.
        agreement_of: how far two measurements keep the same units, in [0, 1].
    """
    halves: list[Importance] = []
    done, agreed = 0, 0.0
    for parts in sample_parts(order):
        seen = (done - done // 2, done // 2)
        found = [measure(part) for part in parts]
        halves = [
            _pooled(halves[half], seen[half], found[half], len(parts[half])) if halves else found[half]
            for half in (0, 1)
        ]
        done += sum(map(len, parts))
        agreed = agreement_of(*halves)
        if agreed >= STABLE_AGREEMENT:
            break
    return SampledImportance(_pooled(halves[0], done - done // 2, halves[1], done // 2), done, agreed)


def sample_parts(order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Successive additions to a sample: rows for its first and for its second half, each in ascending order.

    Args:
        order: (N,) every row once; at least two.
    """
    done = 0
    while done < len(order):
        end = max(_FIRST_ROWS, 2 * done)
        # A single last row would add nothing to the second half.
        more = order[done : end if end + 1 < len(order) else len(order)]
        yield more[::2].sort().values, more[1::2].sort().values
        done += len(more)


def shuffled_rows(count: int, seed: int) -> Tensor:
    """Every row once, (N,), in a seeded order; a sample is its beginning."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _pooled(first: Importance, first_rows: int, second: Importance, second_rows: int) -> Importance:
    """The mean over both samples' rows."""
    share = first_rows / (first_rows + second_rows)

    def mean(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(share * a + (1 - share) * b for a, b in zip(left, right, strict=True))

    return Importance(mean(first.heads, second.heads), mean(first.neurons, second.neurons), first.flops + second.flops)


def measure_importance(
    model: PreTrainedModel,
    rows: EncodedRows,
    indices: Tensor,
    task: Task,
    pad_token_id: int,
    workers: Workers,
    on_batch: Callable[[int, int], None],
) -> Importance:
    """Mean absolute gradients of the task's loss with respect to each unit's gate, in eval mode and float32.

    Args:
        model: the fine-tuned teacher.
        rows: the training split.
        indices: the rows to use.
        task: gives the loss on labels, which is summed over rows.
        pad_token_id: fills rows up to the longest of their batch.
        workers: each takes every n-th batch; sums are over all.
        on_batch: called with the batches done and their number.
    """
    model = model.eval().requires_grad_(False).to(workers.device)
    shape, structure = shape_of(model), structure_of(model.config)
    counts = (*structure.heads, *structure.neurons)
    sums = [torch.zeros(count, dtype=torch.float64, device=workers.device) for count in counts]
    flops = 0.0
    batches = evaluation_batches(rows.lengths[indices], BATCH_SIZE)
    for done, chosen in enumerate(batches[workers.rank :: workers.size], start=1):
        batch = to_device(collate(rows, indices[chosen], pad_token_id), workers.device)
        gates = open_gates(model, batch.rows)
        with gated(model, gates):
            loss = label_loss_sum(run_model(model, batch).logits, batch.labels, task.output)
        gradients = torch.autograd.grad(loss, [*gates.heads, *gates.neurons])
        for total, gradient in zip(sums, gradients, strict=True):
            total += absolute_gradient_sum(gradient)
        # A forward pass, and a backward pass through activations alone: weights take no gradient here.
        flops += 2 * inference_flops(shape, structure, batch.rows, batch.length)
        on_batch(done * workers.size, len(batches))
    means = [(workers.sum_(total) / len(indices)).cpu() for total in sums]
    num_layers = shape.num_layers
    return Importance(tuple(means[:num_layers]), tuple(means[num_layers:]), workers.sum_number(flops))
