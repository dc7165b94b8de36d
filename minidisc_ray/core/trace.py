"""What models and objectives exchange: a batch, and a trace of one forward pass.

B rows, L tokens, D hidden size, C classes (1 for regression).
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Encoded rows padded to the longest of them.

    Attributes:
        indices: (B,) positions of the rows in their split.
        input_ids: (B, L) token ids.
        mask: (B, L) 1 for real tokens, 0 for padding.
        token_types: (B, L) segment ids, or None for models that have none.
        labels: (B,) class indices (int64) or values (float32).
    """

    indices: Tensor
    input_ids: Tensor
    mask: Tensor
    token_types: Tensor | None
    labels: Tensor

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
    """Counts over one whole optimiser step, all workers and accumulated parts included: what losses divide by."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Trace:
    """One model's outputs.

    Attributes:
        logits: (B, C).
        last_hidden: (B, L, D) output of the last encoder layer.
    """

    logits: Tensor
    last_hidden: Tensor
