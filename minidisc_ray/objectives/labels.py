"""FT: the task's own loss on labels, which fine-tuning minimises and importance differentiates."""

from torch import Tensor, nn

from minidisc_ray.configs.objective import LabelsConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective, objective_of


def label_loss_sum(logits: Tensor, labels: Tensor, is_regression: bool) -> Tensor:
    """Cross-entropy with classes, or squared error with values, summed over rows.

    Args:
        logits: (B, C); C is 1 for regression.
        labels: (B,).
        is_regression: whether labels are values.
    """
    return label_losses(logits, labels, is_regression, "sum")


def label_losses(logits: Tensor, labels: Tensor, is_regression: bool, reduction: str = "none") -> Tensor:
    """As :func:`label_loss_sum`, of each row, (B,), for objectives that weigh rows differently."""
    if is_regression:
        return nn.functional.mse_loss(logits.float().squeeze(-1), labels.float(), reduction=reduction)
    return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


class LabelObjective(Objective):
    """The loss on labels alone, for fine-tuning; it needs no teacher."""

    def __init__(self, is_regression: bool) -> None:
        super().__init__()
        self.is_regression = is_regression

    def needs(self) -> Needs:
        """Labels alone."""
        return Needs(labels=True)

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:  # noqa: ARG002
        """One term, the mean over rows."""
        return {"labels": label_loss_sum(student.logits, batch.labels, self.is_regression) / totals.rows}


@objective_of(LabelsConfig)
def _build(config: LabelsConfig, pair: Pair) -> LabelObjective:  # noqa: ARG001
    return LabelObjective(pair.task.is_regression)
