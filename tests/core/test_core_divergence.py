import torch
from torch.nn import functional

from minidisc_ray.core.divergence import masked_mse_sum, soft_cross_entropy_sum, squared_error_sum

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(5, 3, generator=GENERATOR), torch.randn(5, 3, generator=GENERATOR)


def test_soft_cross_entropy_against_torch():
    expected = functional.cross_entropy(STUDENT, TEACHER.softmax(-1), reduction="sum")
    torch.testing.assert_close(soft_cross_entropy_sum(STUDENT, TEACHER), expected)


def test_squared_error_against_torch():
    torch.testing.assert_close(
        squared_error_sum(STUDENT, TEACHER), functional.mse_loss(STUDENT, TEACHER, reduction="sum")
    )


def test_masked_mse_against_a_loop_over_real_tokens():
    student, teacher = torch.randn(2, 4, 6, generator=GENERATOR), torch.randn(2, 4, 6, generator=GENERATOR)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    tokens = [(0, 0), (0, 1), (0, 2), (1, 0)]
    expected = sum(functional.mse_loss(student[row, token], teacher[row, token]) for row, token in tokens)
    torch.testing.assert_close(masked_mse_sum(student, teacher, mask), expected)


def test_reductions_run_in_float32():
    half = STUDENT.bfloat16()
    assert soft_cross_entropy_sum(half, half).dtype == torch.float32
    assert squared_error_sum(half, half).dtype == torch.float32
    assert masked_mse_sum(half[None], half[None], torch.ones(1, 5)).dtype == torch.float32
