import torch
from torch import autograd

from minidisc_ray.core.relation import _CrossEntropyOfProducts, relation_cross_entropy_sum, split_heads


def padding(mask):
    return torch.where((mask == 0)[:, None, None, :], -1e9, 0.0).double()


def test_the_gradient_in_closed_form_is_the_gradient():
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(2, 3, 5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64) + padding(mask)
    assert autograd.gradcheck(_CrossEntropyOfProducts.apply, (heads, logits.softmax(-1), padding(mask)))


def test_it_equals_what_autograd_makes_of_the_equation():
    """Equations 7 to 9 as they stand, row by row without padding, values and gradients."""
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(2, 6, 8, generator=generator, requires_grad=True)
    teacher = torch.randn(2, 6, 12, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    found = relation_cross_entropy_sum(student, teacher, 4, mask, minus_entropy=False)
    (gradient,) = autograd.grad(found, student)
    expected = torch.zeros(())
    for row, length in enumerate((6, 4)):
        ours, theirs = (split_heads(x[row : row + 1, :length], 4)[0] for x in (student, teacher))
        relations = (theirs @ theirs.transpose(-1, -2) / 3**0.5).softmax(-1)
        expected = expected - (relations * (ours @ ours.transpose(-1, -2) / 2**0.5).log_softmax(-1)).sum() / 4
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, autograd.grad(expected, student)[0])
    assert not gradient[1, 4:].any()


def test_huge_scores_stay_finite():
    student = (1e3 * torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(2))).requires_grad_()
    value = relation_cross_entropy_sum(student, -student.detach(), 2, torch.ones(1, 4), minus_entropy=True)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()
