import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.data import builtin_rows, builtin_tokenizer, collate, encode, epoch_batches, evaluation_batches, shard

lengths = st.lists(st.integers(2, 40), min_size=0, max_size=400).map(
    lambda values: torch.tensor(values, dtype=torch.int64)
)


@settings(max_examples=60, deadline=None)
@given(lengths=lengths, batch_size=st.integers(1, 9), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_every_row_once(lengths, batch_size, seed, epoch):
    batches = epoch_batches(lengths, batch_size, seed, epoch)
    assert sorted(index for batch in batches for index in batch.tolist()) == list(range(len(lengths)))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == -(-len(lengths) // batch_size)
    again = epoch_batches(lengths, batch_size, seed, epoch)
    assert all(torch.equal(one, other) for one, other in zip(batches, again, strict=True))


@settings(max_examples=40, deadline=None)
@given(lengths=lengths, batch_size=st.integers(1, 9))
def test_evaluation_is_sorted(lengths, batch_size):
    order = [index for batch in evaluation_batches(lengths, batch_size) for index in batch.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    assert lengths[order].tolist() == sorted(lengths.tolist())


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 40), world_size=st.integers(1, 5), parts=st.integers(1, 8))
def test_shards_together_have_every_row_once(size, world_size, parts):
    indices = torch.randperm(size, generator=torch.Generator().manual_seed(size))
    shards = [shard(indices, rank, world_size, parts) for rank in range(world_size)]
    assert sorted(index for own in shards for part in own for index in part.tolist()) == list(range(size))
    assert all(len(part) for own in shards for part in own)
    assert all(len(own) <= parts for own in shards)
    own_rows = [sum(map(len, own)) for own in shards]
    assert max(own_rows) - min(own_rows) <= 1
    for rank, own in enumerate(shards):
        joined = torch.cat(own) if own else indices[:0]
        assert torch.equal(joined, indices[rank::world_size])


def test_epochs_and_seeds_differ_and_padding_is_small():
    lengths = torch.randint(4, 100, (2000,), generator=torch.Generator().manual_seed(0))
    first = epoch_batches(lengths, 16, 0, 0)
    for other in (epoch_batches(lengths, 16, 0, 1), epoch_batches(lengths, 16, 1, 0)):
        assert not all(torch.equal(one, another) for one, another in zip(first, other, strict=True))
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in first)
    assert padded < 1.1 * int(lengths.sum())


def test_collate():
    rows = builtin_rows("train", 30, 0)
    tokenizer = builtin_tokenizer()
    encoded = encode(rows, tokenizer, 64, None)
    indices = torch.tensor([29, 3, 17])
    batch = collate(encoded, indices, 0)
    expected = tokenizer([rows.texts[0][index] for index in indices], padding=True, return_tensors="pt")
    assert torch.equal(batch.input_ids, expected["input_ids"])
    assert torch.equal(batch.mask, expected["attention_mask"])
    assert batch.token_types is not None
    assert torch.equal(batch.token_types, expected["token_type_ids"])
    assert batch.labels.tolist() == rows.labels[indices.numpy()].tolist()
    assert batch.input_ids.dtype == batch.mask.dtype == batch.token_types.dtype == batch.labels.dtype == torch.int64
    other = collate(encoded, indices, 7)
    assert torch.equal(other.input_ids[batch.mask.bool()], batch.input_ids[batch.mask.bool()])
    assert (other.input_ids[batch.mask == 0] == 7).all()


@pytest.mark.parametrize("rows", [64, 160, 400, 1600, 3000])
def test_groups_differ_from_epoch_to_epoch_however_few_rows_there_are(rows):
    """One pool of all rows would be sorted into the same groups in every epoch, but for rows of one length."""
    lengths = torch.arange(rows) % 500 + 3
    groups = [
        {frozenset(batch.tolist()) for batch in epoch_batches(lengths, 16, seed=0, epoch=epoch)} for epoch in range(3)
    ]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert len(groups[one] & groups[other]) <= 0.1 * len(groups[one])


def test_pools_of_long_epochs_stay_fifty_batches():
    """From 200 batches on nothing has changed since there were only pools of fifty: the same batches, row by row."""
    lengths = torch.randint(3, 90, (16 * 203 + 5,), generator=torch.Generator().manual_seed(0))
    generator = np.random.default_rng((7, 2))
    order = generator.permutation(len(lengths))
    full = 16 * 203
    expected = []
    for start in range(0, full, 16 * 50):
        pool = order[start : min(start + 16 * 50, full)]
        pool = pool[np.argsort(lengths.numpy()[pool], kind="stable")]
        expected.extend(pool.reshape(-1, 16).tolist())
    expected = [expected[place] for place in generator.permutation(len(expected))] + [order[full:].tolist()]
    assert [batch.tolist() for batch in epoch_batches(lengths, 16, 7, 2)] == expected
