"""A weighted sum of objectives, itself an objective."""

from collections.abc import Mapping

from torch import Tensor

from minidisc_ray.configs.objective import SumConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective, objective_of, submodule_parts
from minidisc_ray.objectives._children import Children


@objective_of(SumConfig)
class SumObjective(Objective):
    """Every part's terms times its weight, under names such as ``hs.hidden``; a second ``hs`` is ``hs_2``."""

    def __init__(self, config: SumConfig, pair: Pair) -> None:
        super().__init__()
        self.children_by_name = Children([part.objective for part in config.parts], pair)
        self.weights = [part.weight for part in config.parts]

    def needs(self) -> Needs:
        """What any part needs."""
        return self.children_by_name.needs()

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """All parts' terms."""
        return {
            f"{name}.{term}": weight * value
            for weight, (name, part) in zip(self.weights, self.children_by_name.items(), strict=True)
            for term, value in part(student, teacher, batch, totals).items()
        }

    def set_progress(self, fraction: float) -> None:
        """Set it in every part."""
        for _, part in self.children_by_name.items():
            part.set_progress(fraction)

    def final_phase_start(self) -> float:
        """The largest of the parts' values."""
        return max(part.final_phase_start() for _, part in self.children_by_name.items())

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load each objective's own parts."""
        self.children_by_name.follow(submodule_parts("children_by_name.", parts))
