"""Which layers a model of fewer layers is made of.

Layers count from 0, M of them in the model taken from, N in the smaller one.
"""

from typing import Literal

Take = Literal["uniform", "first", "last"]


def layers_taken(num_layers: int, num_taken: int, take: Take) -> tuple[int, ...]:
    """The layers that initialise a model of ``num_taken`` layers, bottom first.

    ``uniform`` takes the i-th at ``ceil(i M / N)``, i = 1 .. N: every k-th one, as DistilBERT does, where N divides M.
    Elsewhere gaps are of k or k - 1 layers, k = ceil(M / N). The topmost layer is always among them.
    """
    if take == "first":
        return tuple(range(num_taken))
    if take == "last":
        return tuple(range(num_layers - num_taken, num_layers))
    return tuple(-(-i * num_layers // num_taken) - 1 for i in range(1, num_taken + 1))
