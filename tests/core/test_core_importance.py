import torch

from minidisc_ray.core.structure import normalise_layers
from minidisc_ray.training.importance import absolute_gradient_sum


def test_absolute_values_are_taken_before_the_sum():
    gradient = torch.tensor([[1.0, -2.0], [-1.0, -2.0], [0.5, 4.0]])
    total = absolute_gradient_sum(gradient)
    assert total.tolist() == [2.5, 8.0]
    assert total.dtype == torch.float64


def test_many_small_additions_are_not_lost():
    gradient = torch.full((20_000, 1), 1e-4)
    gradient[0] = 1e4
    assert abs(float(absolute_gradient_sum(gradient)) - (1e4 + 19_999 * 1e-4)) < 1e-4


def test_each_layer_is_divided_by_its_own_l2_norm():
    first, second, third = normalise_layers([torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.002]), torch.zeros(2)])
    torch.testing.assert_close(first, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(second, torch.tensor([0.0, 1.0]))
    assert third.tolist() == [0.0, 0.0]
