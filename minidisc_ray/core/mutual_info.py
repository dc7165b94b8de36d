"""The multi-sample lower bound of mutual information, I_alpha (Distiller, equation 6).

P pairs (x_i, y_i) of one batch; x_j with j != i is a negative sample for y_i.
"""

import math

import torch
from torch import Tensor


def interpolated_bound(scores: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """``I_alpha``, a scalar in nats; 0 for fewer than three pairs, too few for a bound.

    ``E[log e^f(x,y) / a(y)] - E[e^f(x,y) / a(y)] + 1`` with ``a = alpha m + (1 - alpha) q``, the first mean over pairs
    (x_i, y_i), the second over pairs (x_j, y_i) with j != i. ``m(y_i)`` averages ``e^f`` over P - 1 of the batch's x:
    in the first mean over x_i and all but one of the others, in the second over all but x_i.

    Args:
        scores: (P, P) the critic's ``f(x_j, y_i)`` in row j and column i.
        log_baseline: (P,) ``log q(y_i)``.
        alpha: in [0, 1]; 1 is InfoNCE, at most ``log(P - 1)``; 0 needs a good baseline and varies most.

    Deviation: the paper prints a logarithm in the second mean, with which it is no lower bound; lemma 1 of the same
    paper, which it follows from, has none.
    """
    count = scores.shape[0]
    scores, log_baseline = scores.float(), log_baseline.float()
    if count < 3:
        return 0.0 * (scores.sum() + log_baseline.sum())
    others = _without_own(scores)  # (P, P - 1)
    own = scores.diagonal()
    log_mean_with_own = _leave_one_out(others, own)  # (P, P - 1)
    log_mean_of_others = torch.logsumexp(others, dim=1) - math.log(count - 1)  # (P,)
    first = own.unsqueeze(1) - _interpolate(log_mean_with_own, log_baseline.unsqueeze(1), alpha)
    second = log_mean_of_others - _interpolate(log_mean_of_others, log_baseline, alpha)
    return first.mean() - second.exp().mean() + 1.0


def _without_own(scores: Tensor) -> Tensor:
    """For each y_i its scores with every x_j, j != i, (P, P - 1)."""
    count = scores.shape[0]
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=scores.device)
    return scores.T[off_diagonal].view(count, count - 1)


def _leave_one_out(others: Tensor, own: Tensor) -> Tensor:
    """Log-mean of own and others without the k-th other, (P, P - 1), for each k."""
    count = others.shape[1]
    kept = ~torch.eye(count, dtype=torch.bool, device=others.device)
    rest = others.unsqueeze(1).expand(-1, count, -1).masked_fill(~kept, -math.inf)  # (P, P - 1, P - 1)
    everything = torch.cat([rest, own[:, None, None].expand(-1, count, 1)], dim=-1)
    return torch.logsumexp(everything, dim=-1) - math.log(count)


def _interpolate(log_mean: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """``log(alpha m + (1 - alpha) q)``."""
    if alpha == 1.0:
        return log_mean
    if alpha == 0.0:
        return log_baseline.expand_as(log_mean)
    return torch.logaddexp(log_mean + math.log(alpha), log_baseline + math.log(1.0 - alpha))
