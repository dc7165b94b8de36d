"""Optimal transport between teacher and student layers (Distiller, equation 7), solved by POT."""

import numpy as np
import torch
from torch import Tensor


def transport_flows(costs: Tensor) -> Tensor:
    """Flows, (R, N, M), that carry equal weights of N student layers to M teacher layers at least cost.

    Teacher layers weigh the same as each other, too. Each of R rows has a problem of its own. The flows are constants:
    no gradient passes through them.

    Args:
        costs: (R, N, M), the distance of each student layer from each teacher layer.
    """
    # Importing POT takes over a second, and few runs need it.
    from ot import emd

    rows, num_student, num_teacher = costs.shape
    given = np.ascontiguousarray(costs.detach().cpu().double().numpy())
    supply = np.full(num_student, 1.0 / num_student)
    demand = np.full(num_teacher, 1.0 / num_teacher)
    flows = np.stack([emd(supply, demand, given[row]) for row in range(rows)])
    return torch.from_numpy(flows).to(device=costs.device, dtype=torch.float32)
