"""Samples of rows whose lengths are distributed as those of the whole split.

N rows of a split.
"""

import torch
from torch import Tensor

from minidisc_ray.core.flops import Sizes
from minidisc_ray.data import EncodedRows, epoch_batches, evaluation_batches, take_rows
from minidisc_ray.preparation.closed_form import sizes_of
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE


def evenly_spaced(count: int, size: int) -> Tensor:  # (min(count, size),)
    """At most ``size`` whole numbers below ``count``, evenly spaced."""
    if size >= count:
        return torch.arange(count)
    return ((torch.arange(size, dtype=torch.float64) + 0.5) * count / size).long()


def rows_to_score(rows: EncodedRows, size: int) -> EncodedRows:
    """A sample of at most ``size`` rows to score, with lengths as in the split."""
    order = torch.argsort(rows.lengths, stable=True)
    return take_rows(rows, order[evenly_spaced(len(rows), size)])


def rows_to_train(rows: EncodedRows, batch_size: int, seed: int, num_batches: int) -> EncodedRows:
    """The rows of at most ``num_batches`` batches of the first epoch, evenly spaced from short to long rows.

    Batching sorts rows by length, so these rows form similar batches again.
    """
    lengths = rows.lengths
    batches = epoch_batches(lengths, batch_size, seed, 0)
    if num_batches >= len(batches):
        return rows
    whole = sorted(
        (batch for batch in batches if len(batch) == batch_size), key=lambda batch: int(lengths[batch].max())
    )
    return take_rows(rows, torch.cat([whole[place] for place in evenly_spaced(len(whole), num_batches).tolist()]))


def scored_sizes(rows: EncodedRows) -> Sizes:
    """The sizes of the batches in which a split is scored."""
    return sizes_of(rows, evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE))
