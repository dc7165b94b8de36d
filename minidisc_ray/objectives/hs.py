"""HS: hidden state transfer, ``sum_i sum_(j in phi(i)) MSE(H_S,i W_i^j, H_T,j)`` (comparison, equation 6)."""

import torch
from torch import Tensor, nn

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import HSConfig
from minidisc_ray.core.divergence import masked_row_sums, squared_error, token_cosine
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace, Wanted
from minidisc_ray.objectives._base import Needs, Objective, objective_of
from minidisc_ray.objectives._layers import LinearMap, mapped_layers, student_layers, teacher_layers


@objective_of(HSConfig)
class HiddenStateObjective(Objective):
    """One linear map for each pair of layers; MSE, or cosine for DistilBERT's recipe (comparison, appendix E).

    Deviation: means over real tokens only, so that padding never changes the value.
    """

    def __init__(self, config: HSConfig, pair: Pair) -> None:
        super().__init__()
        student, teacher = pair.student, pair.teacher
        if not config.linear_map and student.hidden_size != teacher.hidden_size:
            raise UserError(
                f"objective.linear_map: false, but the student ({student.name}) is {student.hidden_size} wide and the "
                f"teacher ({teacher.name}) {teacher.hidden_size}; use true"
            )
        self.measure = {"mse": squared_error, "cosine": token_cosine}[config.measure]
        self.pairs = mapped_layers(config.mapping, pair)
        self.maps = nn.ModuleList(
            LinearMap(student.hidden_size, teacher.hidden_size) if config.linear_map else nn.Identity()
            for _ in self.pairs
        )

    def needs(self) -> Needs:
        """Hidden states of the mapped layers."""
        return Needs(Wanted(hidden=teacher_layers(self.pairs)), Wanted(hidden=student_layers(self.pairs)))

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """One term, the sum over pairs of means over tokens."""
        assert teacher is not None
        errors = [
            masked_row_sums(self.measure(linear_map(student.hidden[i]), teacher.hidden[j]), batch.mask).sum()
            for linear_map, (i, j) in zip(self.maps, self.pairs, strict=True)
        ]
        return {"hidden": torch.stack(errors).sum() / totals.tokens}
