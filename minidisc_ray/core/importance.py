"""Importance of heads and neurons from gradients of their gates (MiniDisc, appendix A, equations 6-8).

Shapes: N layers, B rows, U units of one type (heads or feed-forward neurons) in a layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def absolute_gradient_sum(gate_gradient: Tensor) -> Tensor:
    """Sum over rows of ``|dL(x, y) / d gate|``.

    With one gate for each row and the loss summed over rows, row ``b`` of the gradient is exactly the gradient of
    that row's own loss, so one backward pass gives the expectation of *absolute per-example* gradients.

    Args:
        gate_gradient: (B, U) gradient with respect to one gate for each row and unit.

    Returns:
        (U,) in float64, so that the order of many small additions does not matter.
    """
    return gate_gradient.detach().to(torch.float64).abs().sum(dim=0)


def normalise_layers(scores: Sequence[Tensor]) -> list[Tensor]:
    """Divide each layer's scores, each (U,), by their l2 norm (MiniDisc, appendix A, after Molchanov et al. 2017).

    A layer whose scores are all zero stays zero, so that it is pruned first.
    """
    return [score / norm if (norm := torch.linalg.vector_norm(score)) > 0 else score for score in scores]
