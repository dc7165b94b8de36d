"""Rows from any source, as encoded, bucketed, padded batches."""

from minidisc_ray.data.batching import collate, epoch_batches, evaluation_batches, shard, take_rows
from minidisc_ray.data.builtin import builtin_rows, builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.delimited import Quoting
from minidisc_ray.data.encoding import EncodedRows, encode, unknown_share
from minidisc_ray.data.files import is_rows_file, read_labelled, read_texts
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.splits import Splits, load_splits
from minidisc_ray.data.tasks import resolve_task
from minidisc_ray.data.tokenizer import tokenizer_digest

__all__ = [
    "EncodedRows",
    "Quoting",
    "Rows",
    "Splits",
    "builtin_rows",
    "builtin_tokenizer",
    "builtin_vocabulary",
    "collate",
    "encode",
    "epoch_batches",
    "evaluation_batches",
    "is_rows_file",
    "load_splits",
    "read_labelled",
    "read_texts",
    "resolve_task",
    "shard",
    "take_rows",
    "tokenizer_digest",
    "unknown_share",
]
