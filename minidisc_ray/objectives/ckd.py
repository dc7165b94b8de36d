"""CKD: relations between a row's tokens, relations between a token's layers, and predictions (MiniDisc, section 4.1).

B rows, L tokens, N layers, D hidden size. The source texts name the two relations without an equation; cosines of
pairs and angles of triples are how contextual knowledge distillation is commonly written.
"""

import torch
from torch import Tensor

from minidisc_ray.configs.objective import CKDConfig
from minidisc_ray.core.context_relation import (
    gram,
    masked_mean,
    pair_cosines,
    triple_angles,
    window_angles,
    window_mask,
)
from minidisc_ray.core.divergence import prediction_losses
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import mapped_layers, student_layers, teacher_layers

_EMBEDDINGS = (0, 0)


@objective_of(CKDConfig)
class ContextualKDObjective(Objective):
    """Squared errors of relations, means over pairs or triples, then over rows (words) or real tokens (layers).

    ``words`` compares tokens with each other within each mapped layer, ``layers`` compares the mapped layers and the
    embeddings of each token with each other. Neither needs equal widths.
    """

    def __init__(self, config: CKDConfig, pair: Pair) -> None:
        super().__init__()
        self.config = config
        self.output = pair.task.output
        self.pairs = mapped_layers(config.mapping, pair)

    def needs(self) -> Needs:
        """Logits, hidden states of the mapped layers, and embeddings, as far as terms are weighted."""
        config = self.config
        pairs = self.pairs if config.words_weight > 0 or config.layers_weight > 0 else ()
        pairs = (_EMBEDDINGS, *pairs) if config.layers_weight > 0 else pairs
        logits = config.logits_weight > 0
        return Needs(
            Wanted(logits, teacher_layers(pairs)),
            Wanted(logits, student_layers(pairs)),
        )

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """Up to three terms."""
        assert teacher is not None
        config = self.config
        terms: dict[str, Tensor] = {}
        if config.logits_weight > 0:
            losses = prediction_losses(student.logits, teacher.logits, self.output, config.temperature)
            terms["logits"] = config.logits_weight * losses.sum() / totals.rows
        if config.words_weight > 0:
            errors = torch.stack([self._words(student, teacher, batch, *layers) for layers in self.pairs])
            terms["words"] = config.words_weight * errors.mean(dim=0).sum() / totals.rows
        if config.layers_weight > 0:
            terms["layers"] = config.layers_weight * self._layers(student, teacher, batch) / totals.tokens
        return terms

    def _words(self, student: Trace, teacher: Trace, batch: Batch, student_layer: int, teacher_layer: int) -> Tensor:
        """Mean errors of pairs and of triples of each row's tokens, added, (B,)."""
        window = self.config.window
        real = batch.mask > 0
        apart = ~torch.eye(batch.length, dtype=torch.bool, device=real.device)
        student_gram = gram(student.hidden[student_layer])  # (B, L, L)
        teacher_gram = gram(teacher.hidden[teacher_layer])
        pairs = (pair_cosines(student_gram) - pair_cosines(teacher_gram)).square()
        triples = (window_angles(student_gram, window) - window_angles(teacher_gram, window)).square()
        return masked_mean(pairs, real.unsqueeze(-1) & real.unsqueeze(-2) & apart) + masked_mean(
            triples, window_mask(batch.mask, window)
        )

    def _layers(self, student: Trace, teacher: Trace, batch: Batch) -> Tensor:
        """Mean errors of pairs and of triples of each token's layers, added, summed over real tokens."""
        pairs = (_EMBEDDINGS, *self.pairs)
        student_gram = gram(torch.stack([student.hidden[i] for i, _ in pairs], dim=2))  # (B, L, N, N)
        teacher_gram = gram(torch.stack([teacher.hidden[j] for _, j in pairs], dim=2))
        cosines = (pair_cosines(student_gram) - pair_cosines(teacher_gram)).square().mean(dim=(2, 3))
        angles = (triple_angles(student_gram) - triple_angles(teacher_gram)).square().mean(dim=(2, 3, 4))
        return (cosines + angles).masked_fill(batch.mask == 0, 0.0).sum()
