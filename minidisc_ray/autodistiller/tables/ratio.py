"""The distillation ratio: a student's gain by distillation, as a share of its teacher's lead (equation 2)."""


def distillation_ratio(score: float, teacher_score: float | None, finetuned_score: float | None) -> float | None:
    """The ratio ``(S_distill - S_finetune) / (T_finetune - S_finetune)`` (Distiller, equation 2).

    Args:
        score: of the distilled student.
        teacher_score: of the fine-tuned teacher; None where unknown.
        finetuned_score: of the same student, fine-tuned on the labels without a teacher; None where unknown.

    Returns:
        1 for a student as good as its teacher, 0 for one as good as without it, below 0 for a worse one. None where a
        score is unknown, or the teacher is not above the fine-tuned student, so that there is nothing to gain.
    """
    if teacher_score is None or finetuned_score is None or teacher_score <= finetuned_score:
        return None
    return (score - finetuned_score) / (teacher_score - finetuned_score)
