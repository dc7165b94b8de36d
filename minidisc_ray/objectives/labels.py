"""FT: the task's own loss on labels, which fine-tuning minimises and importance differentiates."""

from typing import Literal

from torch import Tensor, nn

from minidisc_ray.configs.objective import LabelsConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.task import Output
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective, objective_of


def label_loss_sum(logits: Tensor, labels: Tensor, output: Output) -> Tensor:
    """Cross-entropy with classes, binary cross-entropy with labels (their mean), or squared error, summed over rows.

    Args:
        logits: (B, C); C is 1 for regression.
        labels: (B,), or (B, C) of 0 and 1 where a row may have several.
        output: what labels are.
    """
    return label_losses(logits, labels, output, "sum")


def label_losses(logits: Tensor, labels: Tensor, output: Output, reduction: Literal["none", "sum"] = "none") -> Tensor:
    """As :func:`label_loss_sum`, of each row, (B,), for objectives that weigh rows differently."""
    match output:
        case "class":
            return nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)
        case "value":
            return nn.functional.mse_loss(logits.float().squeeze(-1), labels.float(), reduction=reduction)
        case "labels":
            losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")
            by_row = losses.mean(dim=-1)
            return by_row.sum() if reduction == "sum" else by_row


class LabelObjective(Objective):
    """The loss on labels alone, for fine-tuning; it needs no teacher."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output

    def needs(self) -> Needs:
        """Labels alone."""
        return Needs(labels=True)

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:  # noqa: ARG002
        """One term, the mean over rows."""
        return {"labels": label_loss_sum(student.logits, batch.labels, self.output) / totals.rows}


@objective_of(LabelsConfig)
def _build(config: LabelsConfig, pair: Pair) -> LabelObjective:  # noqa: ARG001
    return LabelObjective(pair.task.output)
