"""A few rows that stand for all of a split: their lengths are spread as the split's are.

N rows of a split, M rows of the sample.
"""

import torch
from torch import Tensor

from minidisc_ray.core.flops import Sizes
from minidisc_ray.data import EncodedRows, epoch_batches, evaluation_batches
from minidisc_ray.preparation.closed_form import sizes_of
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE


def take_rows(
    rows: EncodedRows,
    positions: Tensor,  # (M,)
) -> EncodedRows:
    """The rows at some positions, in that order."""
    token_types = rows.token_types
    spans = [slice(int(rows.offsets[place]), int(rows.offsets[place + 1])) for place in positions.tolist()]
    lengths = rows.lengths[positions]
    return EncodedRows(
        torch.cat([rows.input_ids[span] for span in spans]),
        torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        None if token_types is None else torch.cat([token_types[span] for span in spans]),
        rows.labels[positions],
        truncated_rows=0,
    )


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
