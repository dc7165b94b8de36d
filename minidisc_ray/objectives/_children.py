"""Objectives made of objectives: names, needs and parts of the children."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from minidisc_ray.configs.objective_base import ObjectiveBase
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import Needs, Objective, below, build_objective


class Children(nn.Module):
    """Objectives by name: their kind, and ``hs_2`` for a second ``hs``."""

    def __init__(self, configs: Sequence[ObjectiveBase], pair: Pair) -> None:
        super().__init__()
        self.named = nn.ModuleDict()
        for config in configs:
            kind: str = config.kind  # type: ignore[attr-defined]
            self.named[_new_name(kind, self.named)] = build_objective(config, pair)

    def items(self) -> list[tuple[str, Objective]]:
        """Names and objectives, in the recipe's order."""
        found: list[tuple[str, Objective]] = []
        for name, child in self.named.items():
            assert isinstance(child, Objective)
            found.append((name, child))
        return found

    def needs(self) -> Needs:
        """What any of them needs."""
        needs = Needs()
        for _, child in self.items():
            needs |= child.needs()
        return needs

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Hand every one its own."""
        for name, child in self.items():
            child.follow(below(f"named.{name}.", parts))


def _new_name(kind: str, taken: nn.ModuleDict) -> str:
    name, number = kind, 1
    while name in taken:
        number += 1
        name = f"{kind}_{number}"
    return name
