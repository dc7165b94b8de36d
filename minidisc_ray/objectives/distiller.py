"""Distiller's pipeline: intermediate layers, predictions and labels (Distiller, equation 1).

B rows, L tokens, N student layers, M teacher layers.
"""

import torch
from torch import Tensor, nn

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import DistillerConfig, MIAlphaConfig
from minidisc_ray.core.divergence import (
    masked_row_sums,
    prediction_losses,
    soft_cross_entropy,
    squared_error,
    token_cosine,
    token_l2,
    token_pkd,
)
from minidisc_ray.core.mutual_info import interpolated_bound
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.core.transport import transport_flows
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._critics import Critic
from minidisc_ray.objectives._layers import map_where_widths_differ, mapped_layers, student_layers, teacher_layers
from minidisc_ray.objectives.labels import label_losses

_MEASURES = {
    "mse": squared_error,
    "l2": token_l2,
    "cosine": token_cosine,
    "pkd": token_pkd,
    "ce": soft_cross_entropy,
}
# interpolated_bound is 0 for fewer.
_FEWEST_ROWS = 3


@objective_of(DistillerConfig)
class DistillerObjective(Objective):
    """``sum m_ij l_inter(H_T,i, H_S,j) + beta l_pred(f_T, f_S) + gamma l(y, f_S)``.

    ``beta1`` and ``gamma1`` weigh the task's own rows, ``beta2`` and ``gamma2`` augmented ones. With the EMD mapping
    each row has transport flows of its own (equation 7), so that the rows' losses add up; MI-alpha is a value of the
    whole batch, whose flows are one problem.

    Deviations: means over real tokens; labels always use the task's own loss, since an MSE would need logits, which
    labels lack; MI-alpha depends on which rows share a batch, so its values of the parts of a batch do not add up to
    that of the whole.
    """

    def __init__(self, config: DistillerConfig, pair: Pair) -> None:
        super().__init__()
        if config.prediction == "ce" and pair.task.is_regression and (config.beta1 or config.beta2):
            raise UserError(
                f"objective.prediction: ce compares distributions over classes, but {pair.task.name} is a regression, "
                f"for which the teacher ({pair.teacher.name}) gives one value; use mse"
            )
        self.config = config
        self.output = pair.task.output
        self.pairs = mapped_layers(config.mapping, pair) if config.intermediate_weight > 0 else ()
        mapped_from, mapped_to = student_layers(self.pairs), teacher_layers(self.pairs)
        inter = config.intermediate
        self.critic: Critic | None = None
        self.maps = nn.ModuleDict()
        if isinstance(inter, MIAlphaConfig):
            self.critic = Critic(
                inter.critic, mapped_from, mapped_to, pair.student.hidden_size, pair.teacher.hidden_size
            )
            # A baseline that alpha leaves out would never get a gradient.
            self.critic.baselines.requires_grad_(inter.alpha < 1)
        else:
            self.maps = nn.ModuleDict({str(layer): map_where_widths_differ(pair) for layer in sorted(mapped_from)})

    def needs(self) -> Needs:
        """Hidden states of the mapped layers, logits and labels, as far as terms are weighted."""
        config = self.config
        predictions = bool(config.beta1 or config.beta2)
        return Needs(
            Wanted(predictions, teacher_layers(self.pairs)),
            Wanted(predictions, student_layers(self.pairs)),
            labels=bool(config.gamma1 or config.gamma2),
            rows=_FEWEST_ROWS if self.critic is not None and self.pairs else 1,
        )

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """Up to three terms."""
        config = self.config
        terms: dict[str, Tensor] = {}
        if self.pairs:
            assert teacher is not None
            intermediate = self._mutual_information if self.critic is not None else self._distances
            terms["intermediate"] = config.intermediate_weight * intermediate(student, teacher, batch, totals)
        if config.beta1 or config.beta2:
            assert teacher is not None
            losses = self._predictions(student.logits, teacher.logits)
            terms["logits"] = (_weights(batch, config.beta1, config.beta2) * losses).sum() / totals.rows
        if config.gamma1 or config.gamma2:
            losses = label_losses(student.logits, batch.labels, self.output)
            terms["labels"] = (_weights(batch, config.gamma1, config.gamma2) * losses).sum() / totals.rows
        return terms

    def _predictions(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Losses of logits, (B, C), of each row, (B,)."""
        return (
            squared_error(student, teacher)
            if self.config.prediction == "mse"
            else prediction_losses(student, teacher, self.output)
        )

    def _distances(self, student: Trace, teacher: Trace, batch: Batch, totals: Totals) -> Tensor:
        """Weighted distances of layers, means over real tokens."""
        measure = _MEASURES[self.config.intermediate.kind]
        mapped = {layer: self.maps[str(layer)](student.hidden[layer]) for layer in student_layers(self.pairs)}
        by_row = torch.stack(
            [masked_row_sums(measure(mapped[i], teacher.hidden[j]), batch.mask) for i, j in self.pairs],
            dim=-1,
        )  # (B, pairs)
        if self.config.mapping == "emd":
            by_row = by_row * self._flows(by_row)
        return by_row.sum() / totals.tokens

    def _mutual_information(self, student: Trace, teacher: Trace, batch: Batch, totals: Totals) -> Tensor:
        """``-I_alpha`` over the mapped layers, weighted by this part's share of the step's rows."""
        critic, inter = self.critic, self.config.intermediate
        assert critic is not None
        assert isinstance(inter, MIAlphaConfig)
        encoded = {
            layer: critic.encode_student(layer, student.hidden[layer], batch.mask)
            for layer in sorted(student_layers(self.pairs))
        }
        targets = {
            layer: critic.encode_teacher(layer, teacher.hidden[layer], batch.mask)
            for layer in sorted(teacher_layers(self.pairs))
        }
        bounds = torch.stack(
            [
                interpolated_bound(critic.scores(encoded[i], targets[j][0]), targets[j][1], inter.alpha)
                for i, j in self.pairs
            ]
        ).unsqueeze(0)  # (1, pairs)
        if self.config.mapping == "emd":
            bounds = bounds * self._flows(-bounds)
        return -bounds.sum() * batch.rows / totals.rows

    def _flows(self, costs: Tensor) -> Tensor:
        """Flows of transport problems, (R, pairs), from costs of every pair of layers, (R, pairs)."""
        num_student, num_teacher = len(student_layers(self.pairs)), len(teacher_layers(self.pairs))
        return transport_flows(costs.view(-1, num_student, num_teacher)).view_as(costs)


def _weights(batch: Batch, own: float, augmented: float) -> Tensor | float:
    """The weight of each row, (B,), or one for all."""
    if batch.is_augmented is None:
        return own
    return torch.where(batch.is_augmented, augmented, own)
