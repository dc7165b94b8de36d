"""What models and objectives exchange: a batch, the outputs wanted of a forward pass, and these outputs.

B rows, L tokens, D hidden size, W width of one projection (heads kept times head size), C classes (1 for regression).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Encoded rows padded to the longest of them.

    Attributes:
        indices: (B,) positions of the rows in their split.
        input_ids: (B, L) token ids.
        mask: (B, L) 1 for real tokens, 0 for padding.
        token_types: (B, L) segment ids, or None for models that have none.
        labels: (B,) class indices (int64) or values (float32), or (B, C) of 0 and 1 (float32).
        is_augmented: (B,) whether a row was made by data augmentation; None where none was.
        has_padding: whether any token is padding; known for batches on a GPU, so that the host need not wait for the
            device to read the mask. None where the mask is read.
    """

    indices: Tensor
    input_ids: Tensor
    mask: Tensor
    token_types: Tensor | None
    labels: Tensor
    is_augmented: Tensor | None = None
    has_padding: bool | None = None

    @property
    def rows(self) -> int:
        """Number of rows, B."""
        return self.input_ids.shape[0]

    @property
    def length(self) -> int:
        """Padded length, L."""
        return self.input_ids.shape[1]


@dataclass(frozen=True)
class Totals:
    """Counts over one whole optimiser step, all workers and accumulated parts included; losses are divided by them."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Wanted:
    """The outputs wanted of a forward pass; no others are kept.

    Attributes:
        logits: the logits.
        hidden: layers whose output is wanted, from 1; 0 is the embeddings' output.
        queries, keys, values: layers, from 1, whose projections are wanted.
    """

    logits: bool = False
    hidden: frozenset[int] = frozenset()
    queries: frozenset[int] = frozenset()
    keys: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return self != NOTHING

    def __or__(self, other: "Wanted") -> "Wanted":
        return Wanted(
            self.logits or other.logits,
            self.hidden | other.hidden,
            self.queries | other.queries,
            self.keys | other.keys,
            self.values | other.values,
        )


NOTHING = Wanted()


@dataclass(frozen=True)
class Trace:
    """One model's outputs that were wanted.

    Attributes:
        logits: (B, C).
        hidden: (B, L, D) by layer; 0 is the embeddings' output.
        queries, keys, values: (B, L, W) by layer, the heads beside each other; W is 0 where a layer kept no head.
    """

    logits: Tensor
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    queries: Mapping[int, Tensor] = field(default_factory=dict)
    keys: Mapping[int, Tensor] = field(default_factory=dict)
    values: Mapping[int, Tensor] = field(default_factory=dict)

    def detached(self) -> "Trace":
        """The same values without gradients."""
        parts = (self.hidden, self.queries, self.keys, self.values)
        kept = ({layer: value.detach() for layer, value in part.items()} for part in parts)
        return Trace(self.logits.detach(), *kept)
