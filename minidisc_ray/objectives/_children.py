"""The children of an objective made of objectives: their names, needs and parts."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import cast

from torch import Tensor, nn

from minidisc_ray.configs.objective_base import ObjectiveBase
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import Needs, Objective, build_objective, submodule_parts


class Children(nn.Module):
    """Objectives by name, which is their kind; a second ``hs`` is ``hs_2``."""

    def __init__(self, configs: Sequence[ObjectiveBase], pair: Pair) -> None:
        super().__init__()
        self.named = nn.ModuleDict()
        for config in configs:
            kind: str = config.kind  # type: ignore[attr-defined]
            self.named[_new_name(kind, self.named)] = build_objective(config, pair)

    def items(self) -> list[tuple[str, Objective]]:
        """Names and objectives, in the recipe's order."""
        return [(name, cast(Objective, child)) for name, child in self.named.items()]

    def needs(self) -> Needs:
        """What any child needs."""
        return reduce(or_, (child.needs() for _, child in self.items()), Needs())

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load each child's own parts."""
        for name, child in self.items():
            child.follow(submodule_parts(f"named.{name}.", parts))


def _new_name(kind: str, taken: nn.ModuleDict) -> str:
    name, number = kind, 1
    while name in taken:
        number += 1
        name = f"{kind}_{number}"
    return name
