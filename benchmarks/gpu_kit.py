"""Shared by the sections of the GPU check: sizes, results, timers, and a sandwich of random weights."""

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.flops import inference_flops, training_flops
from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.structure import Structure, rank_units, structure_at
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.objectives import build_objective
from minidisc_ray.training.clipping import Clipping
from minidisc_ray.training.distil import NestedModels, StageInputs, distillation_learner
from minidisc_ray.training.loop import build_optimizer, take_step
from minidisc_ray.training.workers import Workers

SCALES = (50, 40, 30, 20, 15, 10, 5)
TASK = Task("random", ("text",), "label", ("no", "yes"), ("accuracy",))


@dataclass(frozen=True)
class Sizes:
    """Sizes of the check on a GPU; ``SMALL`` has those for a CPU."""

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    neurons: int = 3072
    vocabulary: int = 30522
    batch: int = 64
    length: int = 128
    matmul: int = 8192
    warm_up: int = 5
    repeats: int = 20
    cached_rows: int = 4096
    latency_rows: int = 32
    latency_repeats: int = 50
    sharing_seconds: float = 6.0
    mrpc_rows: int = 600
    mrpc_epochs: int = 2


SMALL = Sizes(2, 80, 20, 64, 200, 4, 16, 128, 1, 3, 16, 4, 5, 0.3, 64, 1)


@dataclass(frozen=True)
class Bench:
    """The setting of the check: device, sizes, and the folders of MRPC and of a model, if they are given."""

    device: torch.device
    sizes: Sizes
    mrpc: str | None = None
    model: str | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


@dataclass
class Found:
    """The results of a section.

    Attributes:
        numbers: name -> measurement.
        targets: name -> value, target and result (passed, missed or not measured).
        flaws: errors; a section with any has failed.
        notes: what was left out, and why.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def aim(self, name: str, value: float | None, target: str, is_met: Callable[[float], bool]) -> None:
        """Record a target and whether ``value`` meets it; None means not measured."""
        result = "not measured" if value is None else "passed" if is_met(value) else "missed"
        self.targets[name] = {"value": value, "target": target, "result": result}


def is_installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(action: Callable[[], object], device: torch.device, repeats: int, warm_up: int) -> list[float]:
    """Milliseconds of each call: on a GPU by events, without waiting between calls, else by the clock."""
    for _ in range(warm_up):
        action()
    wait_for(device)
    if device.type != "cuda":
        times = [time.perf_counter()]
        for _ in range(repeats):
            action()
            times.append(time.perf_counter())
        return [1000 * (after - before) for before, after in pairwise(times)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    events[0].record()
    for event in events[1:]:
        action()
        event.record()
    wait_for(device)
    return [before.elapsed_time(after) for before, after in pairwise(events)]


def matmul_rate(bench: Bench) -> float:
    """FLOP/s of a square bfloat16 matrix product on random data."""
    size = bench.sizes.matmul
    left, right = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)
    taken = milliseconds(lambda: torch.mm(left, right, out=out), bench.device, 20, 5)
    return 2 * size**3 / (statistics.median(taken) / 1000)


def random_rows(sizes: Sizes, count: int, shortest: int | None = None) -> EncodedRows:
    """Rows of random tokens of full length, or from ``shortest`` up with the first of each batch in full length."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((count,), sizes.length)
    if shortest is not None:
        lengths = torch.randint(shortest, sizes.length + 1, (count,), generator=generator)
        lengths[:: sizes.batch] = sizes.length
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    ids = torch.randint(5, sizes.vocabulary, (int(offsets[-1]),), generator=generator, dtype=torch.int32)
    return EncodedRows(ids, offsets, torch.zeros_like(ids, dtype=torch.uint8), torch.arange(count) % 2, 0)


def random_model(sizes: Sizes, seed: int = 0) -> PreTrainedModel:
    """A BERT with random weights; BERT-base for the default sizes."""
    torch.manual_seed(seed)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.hidden,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.neurons,
        )
    ).eval()


def random_structures(model: PreTrainedModel, scales: Sequence[int]) -> dict[int, Structure]:
    """Nested structures from a random ranking of units."""
    shape, generator = shape_of(model), torch.Generator().manual_seed(0)
    heads, neurons = (
        rank_units([torch.rand(units, generator=generator) for _ in range(shape.num_layers)], "global")
        for units in (shape.num_heads, shape.intermediate_size)
    )
    return {scale: structure_at(heads, neurons, scale) for scale in scales}


class SandwichStep:
    """The training loop's step: the teacher, every candidate, clipping and AdamW."""

    def __init__(self, bench: Bench, scales: Sequence[int] = SCALES, shortest: int | None = None) -> None:
        sizes = bench.sizes
        self.training = TrainingConfig(batch_size=sizes.batch)
        self.rows = random_rows(sizes, 4 * sizes.batch, shortest)
        teacher = random_model(sizes)
        self.structures = random_structures(teacher, scales)
        shape = self.shape = shape_of(teacher)
        side = Side("the teacher", shape.num_layers, shape.hidden_size, shape.num_heads, shape.head_size)
        inputs = StageInputs(self.rows, self.rows, TASK, 0, "bfloat16", 0, Workers(device=bench.device))
        models = NestedModels(
            cut(teacher, self.structures[scales[0]]), self.structures, lambda _: tuple(scales), lambda _: 0.0
        )
        objective = build_objective(LTSDConfig(), Pair(side, side, TASK))
        # A cache of no bytes: the teacher runs in every step.
        self.learner = distillation_learner(models, teacher, objective, self.training, inputs)
        self.learner.elastic.train()
        self.optimizer = build_optimizer(self.learner.trained().values(), self.training)
        self.clipping = Clipping(self.learner.gradients, self.training.max_gradient_norm, is_deferred=bench.is_gpu)
        self.step = 0

    def __call__(self) -> None:
        """Take one step."""
        first = self.step % 4 * self.training.batch_size
        indices = torch.arange(first, first + self.training.batch_size)
        take_step(self.learner, self.rows, indices, self.training, 0, self.step)
        self.clipping.clip_(self.step)
        self.optimizer.step()
        self.step += 1

    def flops(self) -> int:
        """The step's FLOPs in closed form, for batches padded to the longest row."""
        rows, length = self.training.batch_size, int(self.rows.lengths.max())
        candidates = sum(training_flops(self.shape, one, rows, length) for one in self.structures.values())
        return candidates + inference_flops(self.shape, self.shape.full(), rows, length)
