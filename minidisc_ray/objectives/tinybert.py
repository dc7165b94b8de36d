"""TinyBERT: embeddings, attention and hidden states, then predictions (MiniDisc, section 4.1)."""

import torch
from torch import Tensor

from minidisc_ray.configs.objective import TinyBERTConfig
from minidisc_ray.core.divergence import masked_row_sums, prediction_losses, squared_error
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.relation import attention_mse_sum, scaled_products
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import LinearMap, mapped_layers, student_layers, teacher_layers


@objective_of(TinyBERTConfig)
class TinyBERTObjective(Objective):
    """``MSE(E_S W_e, E_T) + sum over layers of MSE(A_S, A_T) + MSE(H_S W_h, H_T)``, then the soft cross-entropy.

    A is the attention scores before the softmax. All layers share one map W_h. The first ``feature_fraction`` of the
    steps has the terms of the features, the rest that of the predictions.

    Deviation: where heads of a layer were pruned, the means of its scores over heads are compared; a layer without any
    head has no scores to compare.
    """

    def __init__(self, config: TinyBERTConfig, pair: Pair) -> None:
        super().__init__()
        student, teacher = pair.student, pair.teacher
        self.config = config
        self.output = pair.task.output
        self.head_sizes = (student.head_size, teacher.head_size)
        self.pairs = mapped_layers(config.mapping, pair)
        self.embeddings_map = LinearMap(student.hidden_size, teacher.hidden_size)
        self.hidden_map = LinearMap(student.hidden_size, teacher.hidden_size)
        features = any((config.embeddings_weight, config.attention_weight, config.hidden_weight))
        # If one phase has no terms, the other one takes all steps.
        self.has_features = features and (config.feature_fraction > 0 or config.logits_weight == 0)
        self.has_predictions = config.logits_weight > 0 and (config.feature_fraction < 1 or not features)
        self.predicts = not self.has_features
        self.embeddings_map.requires_grad_(self.has_features and config.embeddings_weight > 0)
        self.hidden_map.requires_grad_(self.has_features and config.hidden_weight > 0)

    def needs(self) -> Needs:
        """Embeddings, hidden states, queries, keys and logits, as far as terms are weighted."""
        config = self.config

        def side(layers: frozenset[int]) -> Wanted:
            hidden: set[int] = set()
            if self.has_features and config.embeddings_weight > 0:
                hidden.add(0)
            if self.has_features and config.hidden_weight > 0:
                hidden |= layers
            attention = layers if self.has_features and config.attention_weight > 0 else frozenset[int]()
            return Wanted(self.has_predictions, frozenset(hidden), queries=attention, keys=attention)

        return Needs(side(teacher_layers(self.pairs)), side(student_layers(self.pairs)))

    def set_progress(self, fraction: float) -> None:
        """Choose the phase: features first, then predictions."""
        is_over = not self.has_features or fraction >= self.config.feature_fraction
        self.predicts = self.has_predictions and is_over

    def final_phase_start(self) -> float:
        """Where the predictions' phase starts; 0 if there is one phase."""
        return self.config.feature_fraction if self.has_features and self.has_predictions else 0.0

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The terms of the current phase."""
        assert teacher is not None
        config = self.config
        if self.predicts:
            losses = prediction_losses(student.logits, teacher.logits, self.output, config.temperature)
            return {"logits": config.logits_weight * losses.sum() / totals.rows}
        terms: dict[str, Tensor] = {}
        if config.embeddings_weight > 0:
            errors = squared_error(self.embeddings_map(student.hidden[0]), teacher.hidden[0])
            terms["embeddings"] = config.embeddings_weight * masked_row_sums(errors, batch.mask).sum() / totals.tokens
        if config.attention_weight > 0:
            errors = torch.stack([self._attention(student, teacher, batch, *layers) for layers in self.pairs])
            terms["attention"] = config.attention_weight * errors.sum() / totals.tokens
        if config.hidden_weight > 0:
            errors = torch.stack(
                [squared_error(self.hidden_map(student.hidden[i]), teacher.hidden[j]) for i, j in self.pairs]
            ).sum(dim=0)
            terms["hidden"] = config.hidden_weight * masked_row_sums(errors, batch.mask).sum() / totals.tokens
        return terms

    def _attention(
        self, student: Trace, teacher: Trace, batch: Batch, student_layer: int, teacher_layer: int
    ) -> Tensor:
        queries, teacher_queries = student.queries[student_layer], teacher.queries[teacher_layer]
        heads = queries.shape[-1] // self.head_sizes[0]
        teacher_heads = teacher_queries.shape[-1] // self.head_sizes[1]
        if heads == 0 or teacher_heads == 0:
            return student.logits.float().sum() * 0.0  # zero, yet a backward pass can start from it
        return attention_mse_sum(
            scaled_products(queries, student.keys[student_layer], heads),
            scaled_products(teacher_queries, teacher.keys[teacher_layer], teacher_heads),
            batch.mask,
        )
