"""Optimal transport between teacher and student layers (Distiller, equation 7), solved by POT."""

import numpy as np
import torch
from torch import Tensor


def transport_flows(costs: Tensor) -> Tensor:
    """Flows, (R, N, M), of least cost from N student layers of equal weight to M teacher layers of equal weight.

    Each of R rows is a problem of its own. The flows are constants: no gradient passes through them.

    Args:
        costs: (R, N, M), the distance of each student layer from each teacher layer.
    """
    # Importing POT takes over a second, and few runs need it.
    from ot import emd

    _, num_student, num_teacher = costs.shape
    costs_by_row = np.ascontiguousarray(costs.detach().cpu().double().numpy())
    supply = np.full(num_student, 1.0 / num_student)
    demand = np.full(num_teacher, 1.0 / num_teacher)
    flows = np.stack([emd(supply, demand, row_costs) for row_costs in costs_by_row])
    return torch.from_numpy(flows).to(device=costs.device, dtype=torch.float32)
