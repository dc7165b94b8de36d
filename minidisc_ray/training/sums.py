"""Each loss term's sum over the steps of an epoch, kept in checkpoints so that its mean stays the same float."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minidisc_ray.training.state import LossSum
from minidisc_ray.training.workers import Workers


class LossSums:
    """Each term's sum over the steps that had it; an objective of several phases changes its terms.

    Args:
        workers: each sums its own share.
        kept: what :meth:`kept` returned when the epoch was interrupted.
    """

    def __init__(self, workers: Workers, kept: Sequence[dict[str, LossSum]] = ()) -> None:
        self.workers = workers
        own = _own_share(kept, workers)
        # Terms are float32, and so are their sums; a checkpoint keeps them exactly, as wider numbers.
        self._totals: dict[str, Tensor] = {
            name: torch.tensor(total, dtype=torch.float32, device=workers.device) for name, (total, _) in own.items()
        }
        self._counts: dict[str, int] = {name: count for name, (_, count) in own.items()}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add one step's terms, still on the device."""
        for name, value in losses.items():
            self._totals[name] = self._totals[name] + value if name in self._totals else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Each term's mean over the steps that had it, summed over workers.

        A worker may have had no row in some steps, and so no terms; the first worker always has one.
        """
        means: dict[str, float] = {}
        for name in self.workers.agree_on_names(self._totals):
            count = self.workers.agree(float(self._counts.get(name, 0)))
            means[name] = self.workers.sum_number(float(self._totals.get(name, 0.0)) / count)
        return means

    def kept(self) -> tuple[dict[str, LossSum], ...]:
        """Every worker's sums and counts, of the first worker's terms; the same on all workers."""
        workers = self.workers
        names = workers.agree_on_names(self._totals)
        table = torch.zeros(workers.size, len(names), 2, dtype=torch.float64, device=workers.device)
        for place, name in enumerate(names):
            if name in self._totals:
                table[workers.rank, place, 0] = float(self._totals[name])
                table[workers.rank, place, 1] = self._counts[name]
        rows = workers.sum_(table).tolist()
        return tuple(
            {name: (total, int(count)) for name, (total, count) in zip(names, row, strict=True) if count}
            for row in rows
        )


def _own_share(kept: Sequence[dict[str, LossSum]], workers: Workers) -> dict[str, LossSum]:
    if not kept or len(kept) == workers.size:
        return dict(kept[workers.rank]) if kept else {}
    # The number of workers has changed: the first one takes the sums of all.
    if not workers.is_first:
        return {}
    return {name: (sum(share.get(name, (0.0, 0))[0] for share in kept), count) for name, (_, count) in kept[0].items()}
