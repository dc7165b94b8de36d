"""Mixed precision: bfloat16 autocast where a recipe or a GPU asks for it."""

from contextlib import AbstractContextManager

import torch

from minidisc_ray.configs.training import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context for forward passes; weights, gradients and losses stay float32."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
