"""L_TSD: cross-entropy with the teacher's predictions and MSE with its last hidden states (MiniDisc, equation 2)."""

from torch import Tensor

from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.core.divergence import masked_mse_sum, soft_cross_entropy_sum, squared_error_sum
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective


class LTSDObjective(Objective):
    """``CE(y_T, y_A) + MSE(H_T, H_A)``; for regression the first term is the squared error of the outputs.

    Deviation: the paper leaves the averages open; here the first term is a mean over rows and the second a mean over
    hidden units and real tokens, so that padding never changes the value.
    """

    def __init__(self, config: LTSDConfig, is_regression: bool) -> None:
        super().__init__()
        self.config = config
        self.is_regression = is_regression

    def needs(self) -> Needs:
        """Logits and last hidden states, unless a weight of zero leaves a term out."""
        return Needs(teacher_logits=self.config.logits_weight > 0, teacher_hidden=self.config.hidden_weight > 0)

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The two terms as scalars."""
        assert teacher is not None
        terms: dict[str, Tensor] = {}
        if self.config.logits_weight > 0:
            match = squared_error_sum if self.is_regression else soft_cross_entropy_sum
            terms["logits"] = self.config.logits_weight * match(student.logits, teacher.logits) / totals.rows
        if self.config.hidden_weight > 0:
            error = masked_mse_sum(student.last_hidden, teacher.last_hidden, batch.mask)
            terms["hidden"] = self.config.hidden_weight * error / totals.tokens
        return terms
