"""The teacher's outputs, computed once for each row if they fit in memory, else for each batch.

N rows in the split, T real tokens in all of them, B rows and L tokens of a batch, D hidden size, W width of a
projection, C classes.
"""

from collections.abc import Mapping
from pathlib import Path

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel

from minidisc_ray.configs.training import ComputeConfig, Precision
from minidisc_ray.core.flops import EncoderShape, inference_flops
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.trace import Batch, Trace, Wanted
from minidisc_ray.data import EncodedRows, collate, evaluation_batches
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE, autocast, moved, to_device
from minidisc_ray.training.workers import Workers

# The rest is for weights, moments and activations, and for trials beside this one.
_SHARE_OF_FREE_MEMORY = 0.25
# A container's limit and use of memory, by cgroup version.
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
# Which tensor of a trace: its attribute and its layer.
_Key = tuple[str, int]


def cached_bytes(rows: EncodedRows, num_labels: int, wanted: Wanted, shape: EncoderShape, structure: Structure) -> int:
    """Bytes of a teacher's outputs on a split: logits in float32, outputs of each token in float16."""
    widths = _widths(wanted, shape, structure).values()
    return 4 * len(rows) * num_labels + 2 * int(rows.offsets[-1]) * sum(widths)


def cache_limit_bytes(compute: ComputeConfig, num_processes: int = 1) -> int:
    """Bytes that a process may cache: as the recipe says, else its share of a quarter of the free memory."""
    if compute.teacher_cache_gib is not None:
        return int(compute.teacher_cache_gib * 2**30)
    return int(_SHARE_OF_FREE_MEMORY * free_memory_bytes() / num_processes)


def free_memory_bytes() -> int:
    """Bytes that can be used without swapping, on the machine or in the container, whichever has less left."""
    free = int(psutil.virtual_memory().available)
    for limit, usage in _CGROUPS:
        try:
            free = min(free, int(limit.read_text(encoding="ascii")) - int(usage.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # another version, or no limit ("max")
    return max(0, free)


class TeacherOutputs:
    """The teacher's outputs on training rows.

    Args:
        teacher: the model to match; runs in eval mode and is never changed.
        rows: the training split.
        wanted: which outputs are kept.
        pad_token_id: fills rows up to the longest of their batch.
        workers: share the work of the first pass.
        precision: of the forward pass.
        cache_bytes: outputs up to this size are computed once, in an order that no training order changes, so that a
            resumed run sees the same numbers; larger ones are computed for each batch.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        rows: EncodedRows,
        wanted: Wanted,
        pad_token_id: int,
        workers: Workers,
        precision: Precision,
        cache_bytes: int,
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False).to(workers.device)
        self.rows = rows
        self.wanted = wanted
        self.workers = workers
        self.precision: Precision = precision
        self.shape: EncoderShape = shape_of(teacher)
        self.structure: Structure = structure_of(teacher.config)
        self.flops = 0
        num_labels = int(teacher.config.num_labels)
        self.is_cached = cached_bytes(rows, num_labels, wanted, self.shape, self.structure) <= cache_bytes
        if self.is_cached:
            self._fill(pad_token_id, num_labels)

    def trace(self, batch: Batch) -> Trace:
        """What is wanted of the teacher on a batch of training rows, detached, in float32.

        Outputs of each token are rounded to float16, cached or not, so that results do not depend on free memory.
        """
        if not self.is_cached:
            self.flops += inference_flops(self.shape, self.structure, batch.rows, batch.length)
            return self._run(batch)
        device = self.workers.device
        tables: dict[_Key, Tensor] = {}
        if self._tables:
            starts = self.rows.offsets[batch.indices].unsqueeze(1)
            # Padding reads tokens of the next rows; every objective masks it.
            positions = (starts + torch.arange(batch.length)).clamp_(max=int(self.rows.offsets[-1]) - 1)
            tables = {key: moved(table[positions], device).float() for key, table in self._tables.items()}
        return _as_trace(moved(self._logits[batch.indices], device), tables)

    @torch.no_grad()
    def _run(self, batch: Batch) -> Trace:
        with autocast(self.precision, self.workers.device):
            trace = run_model(self.teacher, batch, self.wanted)
        return _as_trace(trace.logits.float(), {key: _rounded(value).float() for key, value in _by_key(trace).items()})

    def _fill(self, pad_token_id: int, num_labels: int) -> None:
        workers = self.workers
        self._logits = torch.zeros(len(self.rows), num_labels)
        tokens = int(self.rows.offsets[-1])
        widths = _widths(self.wanted, self.shape, self.structure)
        self._tables = {key: torch.zeros(tokens, width, dtype=torch.float16) for key, width in widths.items()}
        batches = evaluation_batches(self.rows.lengths, EVALUATION_BATCH_SIZE)
        for indices in batches[workers.rank :: workers.size]:
            batch = to_device(collate(self.rows, indices, pad_token_id), workers.device)
            trace = self._run(batch)
            self.flops += inference_flops(self.shape, self.structure, batch.rows, batch.length)
            self._logits[indices] = trace.logits.cpu()
            if self._tables:
                positions, is_real = _token_positions(self.rows, indices), batch.mask.bool()
                for key, value in _by_key(trace).items():
                    self._tables[key][positions] = _rounded(value[is_real]).cpu()
        for table in (self._logits, *self._tables.values()):
            if workers.size > 1:
                table.copy_(workers.sum_(table.to(workers.device)))


def _rounded(values: Tensor) -> Tensor:
    """Values in float16, clamped to its range."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).half()


def _widths(wanted: Wanted, shape: EncoderShape, structure: Structure) -> dict[_Key, int]:
    """The width of each wanted tensor, in the same order on every worker."""
    widths: dict[_Key, int] = {("hidden", layer): shape.hidden_size for layer in sorted(wanted.hidden)}
    for name in ("queries", "keys", "values"):
        for layer in sorted(getattr(wanted, name)):
            widths[name, layer] = structure.heads[layer - 1] * shape.head_size
    return widths


def _by_key(trace: Trace) -> dict[_Key, Tensor]:
    names = ("hidden", "queries", "keys", "values")
    return {(name, layer): value for name in names for layer, value in getattr(trace, name).items()}


def _as_trace(logits: Tensor, tables: Mapping[_Key, Tensor]) -> Trace:
    parts: dict[str, dict[int, Tensor]] = {"hidden": {}, "queries": {}, "keys": {}, "values": {}}
    for (name, layer), value in tables.items():
        parts[name][layer] = value
    return Trace(logits, **parts)


def _token_positions(rows: EncodedRows, indices: Tensor) -> Tensor:
    return torch.cat([torch.arange(int(rows.offsets[i]), int(rows.offsets[i + 1])) for i in indices.tolist()])
