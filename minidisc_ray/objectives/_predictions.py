"""The term that many objectives end with: the student's predictions against the teacher's."""

from torch import Tensor

from minidisc_ray.core.divergence import soft_cross_entropy, squared_error


def prediction_losses(student: Tensor, teacher: Tensor, is_regression: bool, temperature: float = 1.0) -> Tensor:
    """Soft cross-entropy of classes, or squared error of values, of each row, (B,).

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C).
        is_regression: values have no distribution, and no temperature.
        temperature: of both softmaxes.
    """
    if is_regression:
        return squared_error(student, teacher)
    return soft_cross_entropy(student, teacher, temperature)
