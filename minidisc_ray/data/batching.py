"""Which rows go into which batch, and batches as padded tensors.

N rows, M of them taken, B rows of a batch, L tokens of its longest row.
"""

import numpy as np
import torch
from torch import Tensor

from minidisc_ray.core.trace import Batch
from minidisc_ray.data.encoding import EncodedRows

_POOL_BATCHES = 50
_MIN_POOLS = 4


def epoch_batches(
    lengths: Tensor,  # (N,) tokens of each row
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[Tensor]:  # of (B,) int64 row positions
    """Batches of one epoch: rows of similar length together, every row once; seed and epoch determine them.

    Rows are shuffled, then sorted by length within pools of 50 batches (a quarter of the epoch if that is smaller), so
    that little padding is needed and batches still differ between epochs. A single pool would be sorted into the same
    groups every epoch. The last batch has the rows that are left over, if any.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    sizes = lengths.numpy()
    full = len(order) - len(order) % batch_size
    batches: list[np.ndarray] = []
    pool_rows = batch_size * min(_POOL_BATCHES, max(1, full // batch_size // _MIN_POOLS))
    for start in range(0, full, pool_rows):
        pool = order[start : min(start + pool_rows, full)]
        pool = pool[np.argsort(sizes[pool], kind="stable")]
        batches.extend(pool.reshape(-1, batch_size))
    shuffled = [batches[position] for position in generator.permutation(len(batches))]
    if full < len(order):
        shuffled.append(order[full:])
    return [torch.from_numpy(batch.astype(np.int64)) for batch in shuffled]


def evaluation_batches(lengths: Tensor, batch_size: int) -> list[Tensor]:
    """Batches of all rows, shortest first; ``lengths`` (N,) tokens, each batch (B,) int64 row positions."""
    order = torch.argsort(lengths, stable=True)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def take_rows(
    rows: EncodedRows,
    positions: Tensor,  # (M,) int64
) -> EncodedRows:
    """The rows at ``positions``, in that order."""
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


def collate(encoded: EncodedRows, indices: Tensor, pad_token_id: int) -> Batch:
    """Pad the rows at ``indices`` (B,) to the longest of them."""
    starts = encoded.offsets[indices]  # (B,)
    lengths = encoded.offsets[indices + 1] - starts  # (B,)
    steps = torch.arange(int(lengths.max()))
    real = steps < lengths[:, None]  # (B, L)
    # Positions past a row's end read its first token, which padding then replaces, so that no index is out of range.
    places = starts[:, None] + torch.where(real, steps, 0)
    input_ids = torch.where(real, encoded.input_ids[places].long(), pad_token_id)
    token_types = None
    if encoded.token_types is not None:
        token_types = torch.where(real, encoded.token_types[places].long(), 0)
    return Batch(indices, input_ids, real.long(), token_types, encoded.labels[indices])


def shard(indices: Tensor, rank: int, world_size: int, parts: int) -> list[Tensor]:
    """One worker's rows of a batch, cut into at most ``parts`` micro-batches, none of them empty.

    Worker ``rank`` gets rows ``rank``, ``rank + world_size``, ...: a batch is sorted by length, so each worker gets
    short and long rows. Every row goes to exactly one worker.
    """
    return [part for part in indices[rank::world_size].tensor_split(parts) if len(part)]
