"""Names of an objective's own parameters."""

from collections.abc import Mapping

from torch import Tensor


def below(prefix: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of one submodule, by the names that they have in it."""
    return {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
