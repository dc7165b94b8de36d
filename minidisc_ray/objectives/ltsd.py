"""L_TSD: cross-entropy with the teacher's predictions and MSE with its last hidden states (MiniDisc, equation 2)."""

import torch
from torch import Tensor

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.core.divergence import masked_mse_sum, prediction_loss_sum
from minidisc_ray.core.layer_map import LayerPairs
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import map_where_widths_differ, student_layers, teacher_layers


@objective_of(LTSDConfig)
class LTSDObjective(Objective):
    """``CE(y_T, y_A) + MSE(H_T, H_A)``; the first term is as in ``prediction_losses``.

    Deviation: the paper leaves the averages open; here the first term is a mean over rows and the second a mean over
    hidden units and real tokens, so that padding never changes the value. The hidden states of a student of
    another width are mapped linearly; the paper's students have the teacher's width. With ``hidden_layers:
    every_second``, as in the authors' code, the second term is the mean over layers 0 (the embeddings), 2, 4, ...

    Raises:
        UserError: if ``every_second`` is asked for and student and teacher differ in number of layers.
    """

    def __init__(self, config: LTSDConfig, pair: Pair) -> None:
        super().__init__()
        self.config = config
        self.output = pair.task.output
        self.pairs = _matched_layers(config, pair)
        self.linear_map = map_where_widths_differ(pair)

    def needs(self) -> Needs:
        """Logits and last hidden states, unless a weight of zero leaves a term out."""
        logits, hidden = self.config.logits_weight > 0, self.config.hidden_weight > 0
        return Needs(
            teacher=Wanted(logits, teacher_layers(self.pairs) if hidden else frozenset()),
            student=Wanted(logits, student_layers(self.pairs) if hidden else frozenset()),
        )

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The two terms as scalars."""
        assert teacher is not None
        terms: dict[str, Tensor] = {}
        if self.config.logits_weight > 0:
            loss = prediction_loss_sum(student.logits, teacher.logits, self.output)
            terms["logits"] = self.config.logits_weight * loss / totals.rows
        if self.config.hidden_weight > 0:
            errors = [
                masked_mse_sum(self.linear_map(student.hidden[i]), teacher.hidden[j], batch.mask) for i, j in self.pairs
            ]
            error = errors[0] if len(errors) == 1 else torch.stack(errors).mean()
            terms["hidden"] = self.config.hidden_weight * error / totals.tokens
        return terms


def _matched_layers(config: LTSDConfig, pair: Pair) -> LayerPairs:
    num_student, num_teacher = pair.student.num_layers, pair.teacher.num_layers
    if config.hidden_layers == "last":
        return ((num_student, num_teacher),)
    if num_student != num_teacher:
        raise UserError(
            f"objective.hidden_layers: every_second needs as many layers in the student ({pair.student.name}, which "
            f"has {num_student}) as in the teacher ({pair.teacher.name}, which has {num_teacher}); use last"
        )
    return tuple((layer, layer) for layer in range(0, num_student + 1, 2))
