"""Sums of divergences between a student's and a teacher's outputs; callers divide by counts of the whole step.

B rows, L tokens, D hidden size, C classes. Reductions run in float32 whatever the inputs' precision.
"""

import torch
from torch import Tensor


def soft_cross_entropy_sum(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """``-sum_c p_T(c) log p_S(c)``, summed over rows (MiniDisc, equation 2, first term of L_TSD).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
    """
    log_student = torch.log_softmax(student_logits.float(), dim=-1)
    return -(torch.softmax(teacher_logits.float(), dim=-1) * log_student).sum()


def squared_error_sum(student_values: Tensor, teacher_values: Tensor) -> Tensor:
    """Squared differences, summed; for regression this takes the place of the cross-entropy.

    Args:
        student_values: any shape.
        teacher_values: the same shape.
    """
    return (student_values.float() - teacher_values.float()).square().sum()


def masked_mse_sum(student_hidden: Tensor, teacher_hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over D of squared differences, summed over real tokens (MiniDisc, equation 2, second term of L_TSD).

    Args:
        student_hidden: (B, L, D).
        teacher_hidden: (B, L, D).
        mask: (B, L), 1 for real tokens.
    """
    difference = student_hidden.float() - teacher_hidden.float()
    return (difference * mask.unsqueeze(-1)).square().sum() / difference.shape[-1]
