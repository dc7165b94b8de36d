"""A few rows that stand for all of a split: their lengths are spread as the split's are.

N rows of a split.
"""

import torch
from torch import Tensor

from minidisc_ray.core.flops import Sizes
from minidisc_ray.data import EncodedRows, epoch_batches, evaluation_batches, take_rows
from minidisc_ray.preparation.closed_form import sizes_of
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE


def spread(count: int, size: int) -> Tensor:  # (min(count, size),)
    """At most ``size`` whole numbers below ``count``, evenly spread, each in the middle of its share."""
    if size >= count:
        return torch.arange(count)
    return ((torch.arange(size, dtype=torch.float64) + 0.5) * count / size).long()


def rows_to_score(rows: EncodedRows, size: int) -> EncodedRows:
    """At most ``size`` rows, short and long ones as often as in the split."""
    order = torch.argsort(rows.lengths, stable=True)
    return take_rows(rows, order[spread(len(rows), size)])


def rows_to_train(rows: EncodedRows, batch_size: int, seed: int, num_batches: int) -> EncodedRows:
    """Rows of at most ``num_batches`` of the first epoch's batches, from those of short rows to those of long ones.

    Sorted by length they fall into like batches again, whatever order they are shuffled to.
    """
    lengths = rows.lengths
    batches = epoch_batches(lengths, batch_size, seed, 0)
    if num_batches >= len(batches):
        return rows
    whole = sorted(
        (batch for batch in batches if len(batch) == batch_size), key=lambda batch: int(lengths[batch].max())
    )
    return take_rows(rows, torch.cat([whole[place] for place in spread(len(whole), num_batches).tolist()]))


def scored_sizes(rows: EncodedRows) -> Sizes:
    """Of the batches in which a split is scored."""
    return sizes_of(rows, evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE))
