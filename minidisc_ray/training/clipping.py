"""Gradients scaled down to the largest allowed norm, and whether they were finite."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minidisc_ray.models.elastic import FlatGradients

# Norms that may stay on a GPU before they are checked.
_MOST_PENDING = 64


class Clipping:
    """Clips gradients; with a flat buffer that is one norm and one product.

    The student's gradients and those of the objective's own parts are clipped apart, so that a critic's gradient does
    not slow the student down.

    Args:
        gradients: of the student, and of the objective's own parts.
        max_norm: the largest norm that each of them may have.
        is_deferred: norms stay on the device until :meth:`broken_step` is asked, so that no step waits for a GPU.
    """

    def __init__(self, gradients: Sequence[FlatGradients], max_norm: float, is_deferred: bool) -> None:
        self.gradients = gradients
        self.max_norm = max_norm
        self.is_deferred = is_deferred
        self._pending: list[tuple[int, Tensor]] = []

    @property
    def is_due(self) -> bool:
        """Whether to call :meth:`broken_step` now: unless deferred, after every step, since that waits for nothing."""
        return not self.is_deferred or len(self._pending) >= _MOST_PENDING

    def clip_(self, step: int) -> None:
        """Clip the gradients of a step, counted from 0; those that are not finite stay so."""
        for gradients in self.gradients:
            norm = torch.linalg.vector_norm(gradients.buffer)
            self._pending.append((step, norm))
            if self.is_deferred:
                gradients.buffer.mul_((self.max_norm / norm).clamp(max=1.0))
            elif (known := float(norm)) > self.max_norm:
                gradients.buffer.mul_(self.max_norm / known)

    def broken_step(self) -> int | None:
        """The first step since the last call, counted from 0, whose gradient was not finite; else None."""
        if not self._pending:
            return None
        finite = torch.isfinite(torch.stack([norm for _, norm in self._pending])).tolist()
        steps = [step for step, _ in self._pending]
        self._pending.clear()
        return next((step for step, is_finite in zip(steps, finite, strict=True) if not is_finite), None)
