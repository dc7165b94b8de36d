import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from minidisc_ray.core.transport import transport_flows


@pytest.mark.parametrize(("num_student", "num_teacher"), [(1, 1), (2, 3), (6, 12), (4, 4)])
def test_flows_are_the_optimum_of_the_linear_programme(num_student, num_teacher):
    costs = torch.rand(5, num_student, num_teacher, generator=torch.Generator().manual_seed(0))
    flows = transport_flows(costs)
    torch.testing.assert_close(flows.sum(2), torch.full((5, num_student), 1 / num_student))
    torch.testing.assert_close(flows.sum(1), torch.full((5, num_teacher), 1 / num_teacher))
    rows = np.kron(np.eye(num_student), np.ones(num_teacher))
    columns = np.kron(np.ones(num_student), np.eye(num_teacher))
    supply = np.concatenate([np.full(num_student, 1 / num_student), np.full(num_teacher, 1 / num_teacher)])
    for cost, flow in zip(costs, flows, strict=True):
        best = linprog(cost.double().flatten().numpy(), A_eq=np.vstack([rows, columns]), b_eq=supply).fun
        assert float((cost * flow).sum()) == pytest.approx(best, rel=1e-5)


def test_flows_carry_no_gradient():
    assert not transport_flows(torch.rand(1, 2, 2, requires_grad=True)).requires_grad
