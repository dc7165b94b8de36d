"""Which layers of a model initialise one with fewer layers.

Layers count from 0; the larger model has M, the smaller one N.
"""

from typing import Literal

Take = Literal["uniform", "first", "last"]


def layers_taken(num_layers: int, num_taken: int, take: Take) -> tuple[int, ...]:
    """The layers that initialise a model of ``num_taken`` layers, bottom first.

    ``uniform`` takes layers ``ceil(i M / N) - 1``, i = 1 .. N, the last layer among them: every k-th one, as DistilBERT
    does, if N divides M; otherwise steps of k or k - 1 layers, k = ceil(M / N).
    """
    if take == "first":
        return tuple(range(num_taken))
    if take == "last":
        return tuple(range(num_layers - num_taken, num_layers))
    return tuple(-(-i * num_layers // num_taken) - 1 for i in range(1, num_taken + 1))
