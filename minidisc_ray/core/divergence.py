"""Divergences between a student's and a teacher's outputs; callers divide sums by counts of the whole step.

B rows, L tokens, D hidden size, C classes. Reductions run in float32 whatever the inputs' precision.
"""

import torch
from torch import Tensor, nn

from minidisc_ray.core.task import Output


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``T^2 CE(softmax(z_T / T), softmax(z_S / T))`` of each row, (B,) (task-agnostic comparison, equation 5).

    Over the hidden units of each token, (B, L), it is Distiller's intermediate measure (appendix A.3).

    Args:
        student_logits: (B, C), or hidden states, (B, L, D).
        teacher_logits: the same shape.
        temperature: T; 1 is the plain cross-entropy of MiniDisc, equation 2.
    """
    log_student = torch.log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = torch.softmax(teacher_logits.float() / temperature, dim=-1)
    return -(temperature**2) * (teacher * log_student).sum(dim=-1)


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the last dimension of squared differences: of each row, (B,), or of each token, (B, L).

    Deviation: Distiller's appendix B sums over D; the mean is the same up to a constant and needs no weight of its own.

    Args:
        student: (B, C) or (B, L, D).
        teacher: the same shape.
    """
    return (student.float() - teacher.float()).square().mean(dim=-1)


def soft_binary_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``T^2 BCE(sigmoid(z_T / T), sigmoid(z_S / T))`` of each row, (B,), a mean over its labels.

    It is :func:`soft_cross_entropy` of each label's two answers, yes and no.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T.
    """
    teacher = torch.sigmoid(teacher_logits.float() / temperature)
    losses = nn.functional.binary_cross_entropy_with_logits(
        student_logits.float() / temperature, teacher, reduction="none"
    )
    return temperature**2 * losses.mean(dim=-1)


def prediction_losses(student: Tensor, teacher: Tensor, output: Output, temperature: float = 1.0) -> Tensor:
    """Soft cross-entropy of classes or of labels, or squared error of values, of each row, (B,).

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C).
        output: what logits mean; values have no distribution and so no temperature.
        temperature: of both softmaxes or sigmoids.
    """
    match output:
        case "class":
            return soft_cross_entropy(student, teacher, temperature)
        case "labels":
            return soft_binary_cross_entropy(student, teacher, temperature)
        case "value":
            return squared_error(student, teacher)


def prediction_loss_sum(student: Tensor, teacher: Tensor, output: Output) -> Tensor:
    """As :func:`prediction_losses` at temperature 1, summed over rows."""
    match output:
        case "class":
            return soft_cross_entropy_sum(student, teacher)
        case "labels":
            return soft_binary_cross_entropy(student, teacher).sum()
        case "value":
            return squared_error_sum(student, teacher)


def soft_cross_entropy_sum(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """``-sum_c p_T(c) log p_S(c)``, summed over rows (MiniDisc, equation 2, first term of L_TSD).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
    """
    log_student = torch.log_softmax(student_logits.float(), dim=-1)
    return -(torch.softmax(teacher_logits.float(), dim=-1) * log_student).sum()


def squared_error_sum(student_values: Tensor, teacher_values: Tensor) -> Tensor:
    """Sum of squared differences, which regression uses instead of the cross-entropy.

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


def token_l2(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """``||x - y||_2`` of each token, (B, L) from (B, L, D) (Distiller, app. B); its gradient at zero is zero."""
    norms: Tensor = torch.linalg.vector_norm(student_hidden.float() - teacher_hidden.float(), dim=-1)
    return norms


def token_cosine(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """``1 - cos(x, y)`` of each token, (B, L) from (B, L, D) (Distiller, appendix B, as a loss)."""
    return 1.0 - nn.functional.cosine_similarity(student_hidden.float(), teacher_hidden.float(), dim=-1)


def token_pkd(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """``|| x/||x|| - y/||y|| ||^2`` of each token, (B, L) from (B, L, D) (Distiller, appendix B, PKD loss)."""
    student = nn.functional.normalize(student_hidden.float(), dim=-1)
    teacher = nn.functional.normalize(teacher_hidden.float(), dim=-1)
    return (student - teacher).square().sum(dim=-1)


def masked_row_sums(token_values: Tensor, mask: Tensor) -> Tensor:
    """Sums over the real tokens of each row, (B,).

    Args:
        token_values: (B, L).
        mask: (B, L), 1 for real tokens.
    """
    return token_values.masked_fill(mask == 0, 0.0).sum(dim=-1)
