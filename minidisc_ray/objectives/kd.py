"""KD: the teacher's predictions and the labels (MiniDisc, section 4.1)."""

from torch import Tensor

from minidisc_ray.configs.objective import KDConfig
from minidisc_ray.core.divergence import prediction_losses
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives.labels import label_loss_sum


@objective_of(KDConfig)
class KDObjective(Objective):
    """``w_1 T^2 CE(softmax(z_T / T), softmax(z_S / T)) + w_2 CE(y, z_S)``, means over rows."""

    def __init__(self, config: KDConfig, pair: Pair) -> None:
        super().__init__()
        self.config = config
        self.output = pair.task.output

    def needs(self) -> Needs:
        """Logits and labels, unless a weight of zero leaves a term out."""
        logits = self.config.logits_weight > 0
        return Needs(Wanted(logits), Wanted(logits), labels=self.config.labels_weight > 0)

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The two terms as scalars."""
        terms: dict[str, Tensor] = {}
        if self.config.logits_weight > 0:
            assert teacher is not None
            losses = prediction_losses(student.logits, teacher.logits, self.output, self.config.temperature)
            terms["logits"] = self.config.logits_weight * losses.sum() / totals.rows
        if self.config.labels_weight > 0:
            loss = label_loss_sum(student.logits, batch.labels, self.output)
            terms["labels"] = self.config.labels_weight * loss / totals.rows
        return terms
