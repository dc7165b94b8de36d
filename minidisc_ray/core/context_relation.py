"""Contextual relations: cosines of pairs and angles of triples, among tokens of a row or among layers of a token.

Everything follows from Gram matrices, so widths may differ between student and teacher. B rows, L tokens, N layers,
D hidden size, W window. Reductions run in float32.
"""

import torch
from torch import Tensor

# Squared norms are clamped to at least this: two points that coincide define no angle.
_SMALLEST_SQUARE = 1e-4


def gram(points: Tensor) -> Tensor:
    """Inner products, (..., P, P), of points, (..., P, D)."""
    points = points.float()
    return points @ points.transpose(-1, -2)


def pair_cosines(products: Tensor) -> Tensor:
    """Cosine of every pair, (..., P, P), from inner products, (..., P, P)."""
    norms = products.diagonal(dim1=-2, dim2=-1).clamp_min(_SMALLEST_SQUARE).sqrt()
    return products / (norms.unsqueeze(-1) * norms.unsqueeze(-2))


def triple_angles(products: Tensor) -> Tensor:
    """Cosine of the angle at j between i and k, (..., Pj, Pi, Pk), from inner products, (..., P, P)."""
    center = products.diagonal(dim1=-2, dim2=-1)[..., :, None, None]
    to_first, to_second = products.unsqueeze(-1), products.unsqueeze(-2)  # <j, i> and <j, k>
    return pair_cosines(products.unsqueeze(-3) - to_first - to_second + center)


def window_angles(products: Tensor, window: int) -> Tensor:
    """Cosine of the angle at token j between neighbours at most ``window`` away, (B, L, 2W, 2W).

    Args:
        products: (B, L, L) inner products of a row's tokens.
        window: W. Beyond a row's ends its first or last token is repeated; :func:`window_mask` leaves these out.
    """
    rows, length, _ = products.shape
    neighbours = _neighbours(length, window, products.device).clamp(0, length - 1)  # (L, 2W)
    tokens = torch.arange(length, device=products.device)
    flat = products.reshape(rows, -1)

    def products_of(first: Tensor, second: Tensor) -> Tensor:
        positions = first * length + second
        return flat.gather(1, positions.flatten().expand(rows, -1)).view(rows, *positions.shape)

    width = 2 * window
    first = neighbours.unsqueeze(-1).expand(length, width, width)
    second = neighbours.unsqueeze(-2).expand(length, width, width)
    to_center = products_of(tokens.unsqueeze(-1).expand(length, width), neighbours)  # (B, L, 2W)
    center = products_of(tokens, tokens)[..., None, None]
    return pair_cosines(products_of(first, second) - to_center.unsqueeze(-1) - to_center.unsqueeze(-2) + center)


def window_mask(mask: Tensor, window: int) -> Tensor:
    """Whether each triple of :func:`window_angles` has three different real tokens, bool (B, L, 2W, 2W).

    Args:
        mask: (B, L), 1 for real tokens.
        window: W.
    """
    length = mask.shape[1]
    neighbours = _neighbours(length, window, mask.device)
    inside = (neighbours >= 0) & (neighbours < length)
    real = (mask[:, neighbours.clamp(0, length - 1)] > 0) & inside  # (B, L, 2W)
    differ = ~torch.eye(2 * window, dtype=torch.bool, device=mask.device)
    return real.unsqueeze(-1) & real.unsqueeze(-2) & differ & (mask > 0)[..., None, None]


def masked_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of each row's chosen values, (B,); 0 for a row without any.

    Args:
        values: (B, ...).
        chosen: bool, of the same shape or one that broadcasts to it.
    """
    chosen = chosen.expand_as(values)
    sums = values.masked_fill(~chosen, 0.0).flatten(1).sum(dim=1)
    return sums / chosen.flatten(1).sum(dim=1).clamp_min(1)


def _neighbours(length: int, window: int, device: torch.device) -> Tensor:
    offsets = torch.cat([torch.arange(-window, 0, device=device), torch.arange(1, window + 1, device=device)])
    return torch.arange(length, device=device).unsqueeze(-1) + offsets
