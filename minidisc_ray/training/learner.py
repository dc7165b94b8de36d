"""What the loop trains: shared weights, an objective, a teacher, and the scales of each step."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from minidisc_ray.configs.training import Precision
from minidisc_ray.core.flops import EncoderShape, training_flops
from minidisc_ray.core.task import Task
from minidisc_ray.core.trace import Batch, Totals, Wanted
from minidisc_ray.data import EncodedRows
from minidisc_ray.evaluation import label_loss, score
from minidisc_ray.models.elastic import ElasticModel, FlatGradients
from minidisc_ray.models.families import shape_of
from minidisc_ray.objectives import Objective
from minidisc_ray.training.predict import autocast, predict
from minidisc_ray.training.race import Race
from minidisc_ray.training.score import pass_flops
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers

Scores = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation, and its cost.

    Attributes:
        scores: every candidate's metrics.
        loss: the mean loss on labels, over all candidates.
        flops: of this worker's forward passes.
        logits: every candidate's, (N, C).
    """

    scores: Scores
    loss: float
    flops: int
    logits: dict[int, np.ndarray]


@dataclass
class Learner:
    """One model at one scale (fine-tuning, distillation) or at several (a sandwich).

    Attributes:
        elastic: the weights, and the candidates that are slices of them.
        objective: what is minimised.
        teacher: its outputs; None if the objective needs none.
        scales_of_step: the candidates that a step trains; their losses are averaged.
        selection_score: from every candidate's metrics to the number that early stopping maximises.
        task, selection, pad_token_id, workers, precision: what evaluation needs.
        race: chooses among the candidates of a sandwich during training; None without a race.
        in_place: whether a step's largest candidate teaches the others, instead of the teacher (Yu and Huang 2019).
    """

    elastic: ElasticModel
    objective: Objective
    teacher: TeacherOutputs | None
    scales_of_step: Callable[[int], tuple[int, ...]]
    selection_score: Callable[[Scores], float]
    task: Task
    selection: EncodedRows
    pad_token_id: int
    workers: Workers
    precision: Precision
    race: Race | None = None
    in_place: bool = False

    def __post_init__(self) -> None:
        self.shape: EncoderShape = shape_of(self.elastic.shared)
        self.flops = 0
        self.objective.to(self.workers.device)
        needs = self.objective.needs()
        self.wanted: Wanted = needs.student
        self.wanted_of_largest: Wanted = needs.student | needs.teacher if self.in_place else needs.student
        self.gradients: tuple[FlatGradients, ...] = (self.elastic.gradients,)
        if any(parameter.requires_grad for parameter in self.objective.parameters()):
            self.gradients += (FlatGradients(self.objective),)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes and checkpoints keep: the student's, and the objective's own."""
        parts = {name: part for name, part in self.objective.named_parameters() if part.requires_grad}
        return dict(self.elastic.shared.named_parameters()) | {f"objective.{name}": p for name, p in parts.items()}

    def backward(self, batch: Batch, totals: Totals, step: int) -> dict[str, Tensor]:
        """Add this batch's share of the step's gradient; returns the detached terms, averaged over candidates."""
        scales = self.scales_of_step(step)
        target = self.teacher.trace(batch) if self.teacher is not None else None
        with autocast(self.precision, self.workers.device):
            embedded = self.elastic.embed(batch)
        # Candidates add their gradients to this leaf, so that the embeddings run forward and backward only once.
        leaf = embedded.detach().requires_grad_()
        sums: dict[str, Tensor] = {}
        for scale in scales:
            wanted = self.wanted_of_largest if scale == scales[0] else self.wanted
            with autocast(self.precision, self.workers.device):
                trace = self.elastic.run(scale, leaf, batch, wanted)
            terms = self.objective(trace, target, batch, totals)
            if self.in_place and scale == scales[0]:
                target = trace.detached()
            loss = torch.stack(list(terms.values())).sum() / len(scales)
            loss.backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                share = term.detach() / len(scales)
                sums[name] = sums[name] + share if name in sums else share
            self.flops += training_flops(self.shape, self.elastic.structures[scale], batch.rows, batch.length)
        embedded.backward(leaf.grad)  # type: ignore[no-untyped-call]
        return sums

    def total_flops(self) -> int:
        """Training FLOPs of this worker so far, the teacher's forward passes included."""
        return self.flops + (self.teacher.flops if self.teacher is not None else 0)

    def evaluate(self, rows: EncodedRows | None = None, scales: Iterable[int] | None = None) -> Evaluation:
        """Candidates on the selection split, or on other rows.

        Args:
            rows: by default the selection split.
            scales: by default every candidate; in a race the student's slice and the chosen candidate, if any.
        """
        rows = self.selection if rows is None else rows
        labels = rows.labels.numpy()
        found = self.predict(rows, scales)
        scores = {scale: score(self.task, logits, labels) for scale, logits in found.items()}
        losses = [label_loss(self.task, logits, labels) for logits in found.values()]
        flops = sum(pass_flops(self.shape, self.elastic.structures[scale], rows, self.workers) for scale in found)
        return Evaluation(scores, sum(losses) / len(losses), flops, found)

    def predict(self, rows: EncodedRows, scales: Iterable[int] | None = None) -> dict[int, np.ndarray]:
        """Candidates' logits, (N, C); by default those that :meth:`evaluate` takes."""
        self.elastic.train(False)
        if scales is None:
            scales = self.elastic.structures if self.race is None else self.race.scales_to_follow()
        wanted = tuple(scales)

        def run(batch: Batch) -> Mapping[int, Tensor]:
            with autocast(self.precision, self.workers.device):
                embedded = self.elastic.embed(batch)
                return {scale: self.elastic.run(scale, embedded, batch).logits for scale in wanted}

        return predict(run, rows, self.task.num_labels, self.pad_token_id, self.workers)
