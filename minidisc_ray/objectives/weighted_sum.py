"""A weighted sum of objectives, itself an objective."""

from collections.abc import Mapping

from torch import Tensor, nn

from minidisc_ray.configs.objective import SumConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective, build_objective, objective_of
from minidisc_ray.objectives._parts import below


@objective_of(SumConfig)
class SumObjective(Objective):
    """Every part's terms times its weight, under names such as ``hs.hidden``; a second ``hs`` is ``hs_2``."""

    def __init__(self, config: SumConfig, pair: Pair) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()
        self.part_weights: dict[str, float] = {}
        for part in config.parts:
            name = _new_name(part.objective.kind, self.part_weights)
            self.parts[name] = build_objective(part.objective, pair)
            self.part_weights[name] = part.weight

    def needs(self) -> Needs:
        """What any part needs."""
        needs = Needs()
        for _, part in self._parts():
            needs |= part.needs()
        return needs

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """All parts' terms."""
        return {
            f"{name}.{term}": self.part_weights[name] * value
            for name, part in self._parts()
            for term, value in part(student, teacher, batch, totals).items()
        }

    def set_progress(self, fraction: float) -> None:
        """Tell every part."""
        for _, part in self._parts():
            part.set_progress(fraction)

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Hand every part its own."""
        for name, part in self._parts():
            part.follow(below(f"parts.{name}.", parts))

    def _parts(self) -> list[tuple[str, Objective]]:
        found: list[tuple[str, Objective]] = []
        for name, part in self.parts.items():
            assert isinstance(part, Objective)
            found.append((name, part))
        return found


def _new_name(kind: str, taken: Mapping[str, float]) -> str:
    name, number = kind, 1
    while name in taken:
        number += 1
        name = f"{kind}_{number}"
    return name
