"""Relations between tokens: scaled products of queries, keys or values, and attention scores.

B rows, L tokens, W width of a projection, A relation heads. Reductions run in float32.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Far below every score, yet finite: a padded key gets probability zero, and zero times its logarithm stays zero.
_PADDED = -1e9


def split_heads(projection: Tensor, num_heads: int) -> Tensor:
    """Re-split concatenated heads into any number that divides their width: (B, L, W) to (B, A, L, W / A)."""
    rows, length, width = projection.shape
    return projection.float().view(rows, length, num_heads, width // num_heads).transpose(1, 2)


def relation_cross_entropy_sum(
    student: Tensor, teacher: Tensor, num_heads: int, mask: Tensor, minus_entropy: bool
) -> Tensor:
    """``CE(R_T, R_S)``, a mean over relation heads, summed over real tokens (comparison, equations 7 to 9, one alpha).

    ``R`` is the softmax of ``A A^T / sqrt(d)`` over real keys.

    Args:
        student: (B, L, Ws) queries, keys or values.
        teacher: (B, L, Wt) the same of the teacher.
        num_heads: relation heads, A, on both sides.
        mask: (B, L), 1 for real tokens.
        minus_entropy: subtract the teacher's entropy, which makes it the KL divergence of MiniDisc's equation 2.
    """
    student_heads, teacher_heads = _scaled_heads(student, num_heads), _scaled_heads(teacher.detach(), num_heads)
    key_bias = torch.where(_padded_keys(mask), _PADDED, 0.0)
    relations, log_sums = _softmax_((teacher_heads @ teacher_heads.transpose(-1, -2)).add_(key_bias))
    by_query: Tensor = _CrossEntropyOfProducts.apply(student_heads, relations, key_bias)  # type: ignore[no-untyped-call]
    if minus_entropy:
        by_query = by_query - (log_sums - (teacher_heads * (relations @ teacher_heads)).sum(dim=-1))
    return by_query.masked_fill(_padded_queries(mask), 0.0).sum() / num_heads


def _softmax_(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax in place, (..., L), and the logarithms of its denominators, (...): one exponential serves both."""
    largest = scores.amax(dim=-1, keepdim=True)
    exponentials = scores.sub_(largest).exp_()
    sums = exponentials.sum(dim=-1, keepdim=True)
    return exponentials.div_(sums), (largest + sums.log()).squeeze(-1)


class _CrossEntropyOfProducts(torch.autograd.Function):
    """``CE(P, softmax(X X^T))`` of each query, with its gradient in closed form: ``(G + G^T) X``.

    ``G = softmax(X X^T) - P`` is known in the forward pass, where ``CE = log sum_k e^s_k - x (P X)``. So one matrix of
    the relations' size is kept for the backward pass; PyTorch would make and keep several.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, heads: Tensor, relations: Tensor, key_bias: Tensor) -> Tensor:
        """Cross-entropies, (B, A, L), of heads, (B, A, L, d), with relations P, (B, A, L, L); the bias masks keys."""
        scores = (heads @ heads.transpose(-1, -2)).add_(key_bias)
        probabilities, log_sums = _softmax_(scores)
        ctx.save_for_backward(heads, probabilities.sub_(relations))
        return log_sums - (heads * (relations @ heads)).sum(dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the heads, (B, A, L, d)."""
        heads, difference = ctx.saved_tensors
        weighted = difference * gradients[0].unsqueeze(-1)
        return weighted @ heads + weighted.transpose(-1, -2) @ heads, None, None


def _scaled_heads(projection: Tensor, num_heads: int) -> Tensor:
    """Heads divided by ``d^(1/4)``, so that their products are scaled: (B, L, W) to (B, A, L, W / A)."""
    size = projection.shape[-1] // num_heads
    return split_heads(projection, num_heads) / math.sqrt(math.sqrt(size))


def scaled_products(left: Tensor, right: Tensor, num_heads: int) -> Tensor:
    """``X Y^T / sqrt(d)`` head by head, (B, A, L, L); of queries and keys these are the attention scores.

    Args:
        left: (B, L, W).
        right: (B, L, W).
        num_heads: A; d is W / A.
    """
    scale = 1.0 / math.sqrt(left.shape[-1] // num_heads)
    return split_heads(left, num_heads) @ split_heads(right, num_heads).transpose(-1, -2) * scale


def attention_mse_sum(student_scores: Tensor, teacher_scores: Tensor, mask: Tensor) -> Tensor:
    """Squared differences of attention scores: a mean over heads and real keys, summed over real queries.

    Args:
        student_scores: (B, Hs, L, L) before the softmax.
        teacher_scores: (B, Ht, L, L); where the heads differ in number, their means over heads are compared.
        mask: (B, L), 1 for real tokens.
    """
    if student_scores.shape[1] != teacher_scores.shape[1]:
        student_scores, teacher_scores = student_scores.mean(1, keepdim=True), teacher_scores.mean(1, keepdim=True)
    squares = (student_scores - teacher_scores).square()
    squares = squares.masked_fill(_padded_keys(mask) | _padded_queries(mask).unsqueeze(-1), 0.0)
    by_row = squares.sum(dim=(1, 2, 3)) / student_scores.shape[1]
    return (by_row / mask.sum(dim=-1)).sum()


def _padded_keys(mask: Tensor) -> Tensor:
    return (mask == 0)[:, None, None, :]


def _padded_queries(mask: Tensor) -> Tensor:
    return (mask == 0)[:, None, :]
