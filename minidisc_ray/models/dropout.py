"""Dropout that does not dominate a training step on a CPU.

PyTorch's CPU dropout draws its mask entry by entry, and its fused attention has no dropout on CPUs. Here each entry of
a mask takes 16 random bits, which numpy's generator writes at memory speed. On other devices PyTorch's own kernels run.

B rows, H heads, L tokens, a head size.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

ATTENTION_NAME = "minidisc"
_LEVELS = 1 << 16

_bits = np.random.SFC64(0)


def seed_dropout(seed: int) -> None:
    """Seed all dropout of this process; called before every step, so that a resumed run draws the same masks."""
    global _bits
    _bits = np.random.SFC64(seed)
    # As ``torch.manual_seed``, which notes a stack trace for each kind of device that was never used: at every step.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class FastDropout(nn.Module):
    """Inverted dropout with the probability rounded to 1/65536."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = float(p)

    def forward(self, values: Tensor) -> Tensor:
        """Zero entries with probability ``p`` and scale the rest, in training only."""
        return fast_dropout(values, self.p) if self.training and self.p > 0 else values

    def extra_repr(self) -> str:
        """Show the probability, as ``nn.Dropout`` does."""
        return f"p={self.p}"


def fast_dropout(values: Tensor, probability: float) -> Tensor:
    """Inverted dropout on a tensor of any shape."""
    if values.device.type != "cpu":
        return nn.functional.dropout(values, probability, training=True)
    threshold = min(round(probability * _LEVELS), _LEVELS - 1)
    if threshold == 0:  # the probability rounds to zero
        return values
    count = values.numel()
    words = _bits.random_raw(-(-count // 4))
    # Signed 16-bit integers are uniform on [-32768, 32767]: the lowest `threshold` of them are dropped.
    draws = torch.from_numpy(words.view(np.int16)[:count]).view(values.shape)
    lowest_kept = threshold - _LEVELS // 2
    # 0 or 1 as integers: on a CPU, converting booleans takes PyTorch ten times as long.
    kept = draws.clamp_(lowest_kept - 1, lowest_kept).sub_(lowest_kept - 1).to(values.dtype)
    return values * kept.mul_(_LEVELS / (_LEVELS - threshold))


def attention_forward(
    module: nn.Module,
    query: Tensor,  # (B, H, L, a)
    key: Tensor,  # (B, H, L, a)
    value: Tensor,  # (B, H, L, a)
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, (B, L, H, a): PyTorch's fused kernel, except for dropout on a CPU."""
    if dropout == 0.0 or query.device.type != "cpu":
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
        return output, None
    scores = query @ key.transpose(-1, -2) * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            lowest = torch.tensor(torch.finfo(scores.dtype).min, dtype=scores.dtype)
            scores = torch.where(attention_mask, scores, lowest)
        else:
            scores = scores + attention_mask
    probabilities = fast_dropout(torch.softmax(scores, dim=-1), dropout)
    return (probabilities @ value).transpose(1, 2).contiguous(), None


def use_fast_dropout(model: PreTrainedModel, probability: float | None = None) -> None:
    """Replace a model's dropouts and attention by the fast ones; the model keeps its rates by default."""
    AttentionInterface.register(ATTENTION_NAME, attention_forward)
    AttentionMaskInterface.register(ATTENTION_NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout | FastDropout):
                replacement = FastDropout(child.p if probability is None else probability)
                setattr(module, name, replacement.train(child.training))
    model.config._attn_implementation = ATTENTION_NAME
