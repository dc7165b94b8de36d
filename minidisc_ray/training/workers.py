"""The data-parallel workers of one trial, or its single process."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """This worker's place among the workers of its trial.

    Gradients are summed over workers by one all-reduce of the flat gradient buffer rather than by wrapping modules in
    ``DistributedDataParallel``: candidates run several backward passes through slices of the same weights, and its
    reducer expects one gradient for each parameter and pass. Losses are divided by counts of the whole step, so a sum
    is exactly the one-worker gradient.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @property
    def is_first(self) -> bool:
        """Whether this worker writes files."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over workers, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_number(self, value: float) -> float:
        """Sum a number over workers."""
        if self.size == 1:
            return value
        return float(self.sum_(torch.tensor([value], dtype=torch.float64, device=self.device)).item())

    def broadcast_(self, tensor: Tensor, source: int) -> Tensor:
        """Replace a tensor by another worker's, in place."""
        if self.size > 1:
            dist.broadcast(tensor, source)
        return tensor

    def agree(self, value: float) -> float:
        """The first worker's value, on every worker."""
        if self.size == 1:
            return value
        return float(self.broadcast_(torch.tensor([value], dtype=torch.float64, device=self.device), 0).item())

    def agree_on_names(self, names: Iterable[str]) -> tuple[str, ...]:
        """The first worker's names, on every worker."""
        given = tuple(names)
        if self.size == 1:
            return given
        text = torch.tensor(list(json.dumps(given).encode()), dtype=torch.uint8, device=self.device)
        length = int(self.agree(float(len(text))))
        if not self.is_first:
            text = torch.zeros(length, dtype=torch.uint8, device=self.device)
        return tuple(json.loads(bytes(self.broadcast_(text, 0).tolist())))

    def wait(self) -> None:
        """Wait for every worker."""
        if self.size > 1:
            dist.barrier()
