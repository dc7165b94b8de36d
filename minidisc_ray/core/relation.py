"""Relations between tokens: scaled products of queries, keys or values, and attention scores.

B rows, L tokens, W width of a projection, A relation heads. Reductions run in float32.
"""

import math

import torch
from torch import Tensor

# Far below every score, yet finite: a padded key gets probability zero, and zero times its logarithm stays zero.
_PADDED = -1e9


def split_heads(projection: Tensor, num_heads: int) -> Tensor:
    """Re-split concatenated heads into any number that divides their width: (B, L, W) to (B, A, L, W / A)."""
    rows, length, width = projection.shape
    return projection.float().view(rows, length, num_heads, width // num_heads).transpose(1, 2)


def relation_logits(projection: Tensor, num_heads: int, mask: Tensor) -> Tensor:
    """``A A^T / sqrt(d_r)`` with padded keys shut out, (B, A, L, L) (comparison, equations 8 and 9 before the softmax).

    Args:
        projection: (B, L, W) queries, keys or values.
        num_heads: relation heads, A; d_r is W / A.
        mask: (B, L), 1 for real tokens.
    """
    return scaled_products(projection, projection, num_heads).masked_fill(_padded_keys(mask), _PADDED)


def relation_cross_entropy_sum(
    student: Tensor, teacher: Tensor, num_heads: int, mask: Tensor, minus_entropy: bool
) -> Tensor:
    """``CE(R_T, R_S)``, a mean over relation heads, summed over real tokens (comparison, equation 7, one alpha).

    Args:
        student: (B, L, Ws) queries, keys or values.
        teacher: (B, L, Wt) the same of the teacher.
        num_heads: relation heads, A, on both sides.
        mask: (B, L), 1 for real tokens.
        minus_entropy: subtract the teacher's entropy, which makes it the KL divergence of MiniDisc's equation 2.
    """
    log_student = torch.log_softmax(relation_logits(student, num_heads, mask), dim=-1)
    log_teacher = torch.log_softmax(relation_logits(teacher, num_heads, mask), dim=-1)
    probabilities = log_teacher.exp()
    by_query = -(probabilities * log_student).sum(dim=-1)  # (B, A, L)
    if minus_entropy:
        by_query = by_query + (probabilities * log_teacher).sum(dim=-1)
    return by_query.masked_fill(_padded_queries(mask), 0.0).sum() / num_heads


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
