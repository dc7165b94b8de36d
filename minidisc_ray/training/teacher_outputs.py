"""What the teacher gives, computed once for each row where it fits in memory, else for each batch.

N rows in the split, T real tokens in all of them, B rows and L tokens of a batch, D hidden size, C classes.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision
from minidisc_ray.core.flops import EncoderShape, inference_flops
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.trace import Batch, Trace
from minidisc_ray.data import EncodedRows, collate, evaluation_batches
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.objectives import Needs
from minidisc_ray.training.autocast import autocast
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE, to_device
from minidisc_ray.training.workers import Workers


class TeacherOutputs:
    """The teacher's outputs on training rows.

    Args:
        teacher: the model above, used in eval mode and never changed.
        rows: the training split.
        needs: which outputs are kept.
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
        needs: Needs,
        pad_token_id: int,
        workers: Workers,
        precision: Precision,
        cache_bytes: int,
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False).to(workers.device)
        self.rows = rows
        self.needs = needs
        self.workers = workers
        self.precision: Precision = precision
        self.shape: EncoderShape = shape_of(teacher)
        self.structure: Structure = structure_of(teacher.config)
        self.flops = 0
        hidden = self.shape.hidden_size if needs.teacher_hidden else 0
        size = 4 * (len(rows) * int(teacher.config.num_labels) + int(rows.offsets[-1]) * hidden)
        self.is_cached = size <= cache_bytes
        if self.is_cached:
            self._fill(pad_token_id)

    def trace(self, batch: Batch) -> Trace:
        """Detached logits, (B, C), and last hidden states, (B, L, D), of a batch of training rows."""
        if not self.is_cached:
            self.flops += inference_flops(self.shape, self.structure, batch.rows, batch.length)
            return self._run(batch)
        device = self.workers.device
        logits = self._logits[batch.indices].to(device)
        if not self.needs.teacher_hidden:
            return Trace(logits=logits, last_hidden=logits.new_zeros(0))
        starts = self.rows.offsets[batch.indices].unsqueeze(1)
        # Beyond a row's end this reads whatever follows it: the mask keeps padding out of every objective.
        positions = (starts + torch.arange(batch.length)).clamp_(max=len(self._hidden) - 1)
        return Trace(logits=logits, last_hidden=self._hidden[positions].to(device))

    @torch.no_grad()
    def _run(self, batch: Batch) -> Trace:
        with autocast(self.precision, self.workers.device):
            trace = run_model(self.teacher, batch)
        return Trace(logits=trace.logits.float(), last_hidden=trace.last_hidden.float())

    def _fill(self, pad_token_id: int) -> None:
        workers = self.workers
        self._logits = torch.zeros(len(self.rows), int(self.teacher.config.num_labels))
        tokens = int(self.rows.offsets[-1]) if self.needs.teacher_hidden else 0
        self._hidden = torch.zeros(tokens, self.shape.hidden_size)
        batches = evaluation_batches(self.rows.lengths, EVALUATION_BATCH_SIZE)
        for indices in batches[workers.rank :: workers.size]:
            batch = to_device(collate(self.rows, indices, pad_token_id), workers.device)
            trace = self._run(batch)
            self.flops += inference_flops(self.shape, self.structure, batch.rows, batch.length)
            self._logits[indices] = trace.logits.cpu()
            if tokens:
                self._hidden[_token_positions(self.rows, indices)] = trace.last_hidden[batch.mask.bool()].cpu()
        for table in (self._logits, self._hidden):
            if workers.size > 1:
                table.copy_(workers.sum_(table.to(workers.device)))


def _token_positions(rows: EncodedRows, indices: Tensor) -> Tensor:
    return torch.cat([torch.arange(int(rows.offsets[i]), int(rows.offsets[i + 1])) for i in indices.tolist()])
