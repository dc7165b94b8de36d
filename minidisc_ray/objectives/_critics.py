"""Critics ``f(x, y)`` and baselines ``q(y)`` of mutual information (Distiller, appendices A.3 and C.4).

B rows, L tokens, D hidden size, E width of a critic's output.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

_CRITIC_WIDTH = 256
_NUM_HEADS = 8
_MLP_WIDTH = 512


class TransformerEncoding(nn.Module):
    """A two-layer transformer over a row's tokens, averaged over the real ones: (B, L, D) to (B, E)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            _CRITIC_WIDTH, _NUM_HEADS, dim_feedforward=_CRITIC_WIDTH, dropout=0.0, batch_first=True
        )
        self.enter = nn.Linear(hidden_size, _CRITIC_WIDTH)
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Encode rows; ``mask``, (B, L), is 1 for real tokens."""
        return _masked_mean(self.layers(self.enter(hidden), src_key_padding_mask=mask == 0), mask)


class MLPEncoding(nn.Module):
    """A four-layer perceptron over the mean of a row's real tokens: (B, L, D) to (B, E)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        widths = (hidden_size, _MLP_WIDTH, _MLP_WIDTH, _MLP_WIDTH)
        hidden_layers = [
            module for before, after in pairwise(widths) for module in (nn.Linear(before, after), nn.GELU())
        ]
        self.layers = nn.Sequential(*hidden_layers, nn.Linear(_MLP_WIDTH, _CRITIC_WIDTH))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Encode rows; ``mask``, (B, L), is 1 for real tokens."""
        encoded: Tensor = self.layers(_masked_mean(hidden, mask))
        return encoded


class Critic(nn.Module):
    """``f(x, y) = <g(x), h(y)> / sqrt(E)`` and ``log q(y)``, for several layers of each side.

    Deviation: the paper leaves open how x and y enter the network; here each is encoded alone, which takes B encodings
    a side for B rows, where a joint network would run B^2 times.

    Args:
        kind: ``transformer`` or ``mlp``.
        student_layers, teacher_layers: each has an encoding of its own.
        student_size, teacher_size: hidden sizes.
    """

    def __init__(
        self,
        kind: str,
        student_layers: frozenset[int],
        teacher_layers: frozenset[int],
        student_size: int,
        teacher_size: int,
    ) -> None:
        super().__init__()
        encoding = {"transformer": TransformerEncoding, "mlp": MLPEncoding}[kind]
        self.student = nn.ModuleDict({str(layer): encoding(student_size) for layer in sorted(student_layers)})
        self.teacher = nn.ModuleDict({str(layer): encoding(teacher_size) for layer in sorted(teacher_layers)})
        self.baselines = nn.ModuleDict({str(layer): nn.Linear(_CRITIC_WIDTH, 1) for layer in sorted(teacher_layers)})

    def encode_student(self, layer: int, hidden: Tensor, mask: Tensor) -> Tensor:
        """``g(x)`` of each row, (B, E)."""
        encoded: Tensor = self.student[str(layer)](hidden.float(), mask)
        return encoded

    def encode_teacher(self, layer: int, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``h(y)`` of each row, (B, E), and its ``log q(y)``, (B,)."""
        encoded: Tensor = self.teacher[str(layer)](hidden.float(), mask)
        return encoded, self.baselines[str(layer)](encoded).squeeze(-1)

    @staticmethod
    def scores(student: Tensor, teacher: Tensor) -> Tensor:
        """``f(x_j, y_i)`` in row j and column i, (B, B), from encodings, (B, E) each."""
        return student @ teacher.T / math.sqrt(student.shape[-1])


def _masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    kept = hidden.masked_fill((mask == 0).unsqueeze(-1), 0.0)
    return torch.sum(kept, dim=1) / mask.sum(dim=1, keepdim=True)
