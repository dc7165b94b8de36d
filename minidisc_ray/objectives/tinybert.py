"""TinyBERT: embeddings, attention and hidden states, then predictions (MiniDisc, section 4.1)."""

import torch
from torch import Tensor

from minidisc_ray.configs.objective import TinyBERTConfig
from minidisc_ray.core.divergence import masked_row_sums, token_mse
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.relation import attention_mse_sum, scaled_products
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import LinearMap, mapped_layers, student_layers, teacher_layers
from minidisc_ray.objectives._predictions import prediction_losses


@objective_of(TinyBERTConfig)
class TinyBERTObjective(Objective):
    """``MSE(E_S W_e, E_T) + sum over layers of MSE(A_S, A_T) + MSE(H_S W_h, H_T)``, then the soft cross-entropy.

    A is the attention scores before the softmax. One map W_h serves all layers. The first ``feature_fraction`` of the
    steps has the features' terms, the rest the predictions'.

    Deviation: where heads of a layer were pruned, the means of its scores over heads are compared; a layer without any
    head has no scores to compare.
    """

    def __init__(self, config: TinyBERTConfig, pair: Pair) -> None:
        super().__init__()
        student, teacher = pair.student, pair.teacher
        self.config = config
        self.is_regression = pair.task.is_regression
        self.head_sizes = (student.head_size, teacher.head_size)
        self.pairs = mapped_layers(config.mapping, pair)
        self.embeddings_map = LinearMap(student.hidden_size, teacher.hidden_size)
        self.hidden_map = LinearMap(student.hidden_size, teacher.hidden_size)
        self.predicts = config.feature_fraction == 0 or not self._feature_weights()
        for linear_map, weight in (
            (self.embeddings_map, config.embeddings_weight),
            (self.hidden_map, config.hidden_weight),
        ):
            linear_map.requires_grad_(weight > 0 and config.feature_fraction > 0)

    def needs(self) -> Needs:
        """Embeddings, hidden states, queries, keys and logits, as far as terms are weighted."""
        config = self.config
        has_features = config.feature_fraction > 0
        ours, theirs = student_layers(self.pairs), teacher_layers(self.pairs)
        nothing: frozenset[int] = frozenset()

        def side(layers: frozenset[int]) -> Wanted:
            hidden = layers if has_features and config.hidden_weight > 0 else nothing
            embeddings = frozenset({0}) if has_features and config.embeddings_weight > 0 else nothing
            attention = layers if has_features and config.attention_weight > 0 else nothing
            logits = config.feature_fraction < 1 and config.logits_weight > 0
            return Wanted(logits, hidden | embeddings, queries=attention, keys=attention)

        return Needs(side(theirs), side(ours))

    def set_progress(self, fraction: float) -> None:
        """Features first, predictions after them."""
        has_predictions = self.config.logits_weight > 0
        self.predicts = not self._feature_weights() or (has_predictions and fraction >= self.config.feature_fraction)

    def settles_at(self) -> float:
        """Where predictions begin; at once if there is one phase."""
        has_phases = self._feature_weights() and self.config.logits_weight > 0
        return self.config.feature_fraction if has_phases else 0.0

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The terms of the present phase."""
        assert teacher is not None
        config = self.config
        if self.predicts:
            losses = prediction_losses(student.logits, teacher.logits, self.is_regression, config.temperature)
            return {"logits": config.logits_weight * losses.sum() / totals.rows}
        terms: dict[str, Tensor] = {}
        if config.embeddings_weight > 0:
            errors = token_mse(self.embeddings_map(student.hidden[0]), teacher.hidden[0])
            terms["embeddings"] = config.embeddings_weight * masked_row_sums(errors, batch.mask).sum() / totals.tokens
        if config.attention_weight > 0:
            errors = torch.stack([self._attention(student, teacher, batch, *layers) for layers in self.pairs])
            terms["attention"] = config.attention_weight * errors.sum() / totals.tokens
        if config.hidden_weight > 0:
            errors = torch.stack(
                [
                    token_mse(self.hidden_map(student.hidden[ours]), teacher.hidden[theirs])
                    for ours, theirs in self.pairs
                ]
            ).sum(dim=0)
            terms["hidden"] = config.hidden_weight * masked_row_sums(errors, batch.mask).sum() / totals.tokens
        return terms

    def _feature_weights(self) -> bool:
        config = self.config
        return any((config.embeddings_weight, config.attention_weight, config.hidden_weight))

    def _attention(self, student: Trace, teacher: Trace, batch: Batch, ours: int, theirs: int) -> Tensor:
        queries, teacher_queries = student.queries[ours], teacher.queries[theirs]
        heads = queries.shape[-1] // self.head_sizes[0]
        teacher_heads = teacher_queries.shape[-1] // self.head_sizes[1]
        if heads == 0 or teacher_heads == 0:
            return student.logits.float().sum() * 0.0
        return attention_mse_sum(
            scaled_products(queries, student.keys[ours], heads),
            scaled_products(teacher_queries, teacher.keys[theirs], teacher_heads),
            batch.mask,
        )
