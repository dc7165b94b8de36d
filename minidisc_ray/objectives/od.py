"""OD: output distribution transfer, ``T^2 CE(softmax(z_T / T), softmax(z_S / T))`` (comparison, equation 5)."""

from torch import Tensor

from minidisc_ray.configs.objective import ODConfig
from minidisc_ray.core.divergence import prediction_losses
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of


@objective_of(ODConfig)
class OutputDistributionObjective(Objective):
    """The softened predictions; a regression, which has no distribution, compares outputs by squared error.

    Deviation: the paper's outputs are over a vocabulary at every token, ours are the task's, one of each row.
    """

    def __init__(self, config: ODConfig, pair: Pair) -> None:
        super().__init__()
        self.config = config
        self.output = pair.task.output

    def needs(self) -> Needs:
        """Logits."""
        return Needs(teacher=Wanted(logits=True), student=Wanted(logits=True))

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:  # noqa: ARG002
        """One term, the mean over rows."""
        assert teacher is not None
        losses = prediction_losses(student.logits, teacher.logits, self.output, self.config.temperature)
        return {"logits": losses.sum() / totals.rows}
