"""DirectMiniLM: ``sum over Q, K, V and heads of MSE(A_S W, A_T)`` (comparison, equation 10)."""

import torch
from torch import Tensor, nn

from minidisc_ray.configs.objective import DirectMiniLMConfig
from minidisc_ray.core.divergence import masked_row_sums
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.relation import split_heads
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._attention import AttentionObjective
from minidisc_ray.objectives._base import objective_of

_NAMES = ("queries", "keys", "values")


@objective_of(DirectMiniLMConfig)
class DirectMiniLMObjective(AttentionObjective):
    """One linear map for each projection and relation head, ``W``, (ds, dt); the identity at first where ds = dt.

    Deviation: a mean over relation heads where the paper sums; a student whose heads are pruned uses the extra
    attention module of L_TAD.
    """

    def __init__(self, config: DirectMiniLMConfig, pair: Pair) -> None:
        heads = config.num_relation_heads or pair.teacher.num_heads
        super().__init__(pair, heads, config.teacher_layer, config.extra_attention)
        student_width, teacher_width = (side.attention_width // heads for side in (pair.student, pair.teacher))
        start = torch.eye(student_width, teacher_width)
        if student_width != teacher_width:
            nn.init.orthogonal_(start)
        # Of queries, keys and values, in this order.
        self.maps = nn.Parameter(start.expand(len(_NAMES), heads, -1, -1).clone())

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """A term each for queries, keys and values."""
        assert teacher is not None
        heads = self.sources.num_heads
        terms = {}
        for name, linear_map, (student_values, teacher_values) in zip(
            _NAMES, self.maps, self.sources(student, teacher), strict=True
        ):
            mapped = split_heads(student_values, heads) @ linear_map  # (B, A, L, dt)
            errors = (mapped - split_heads(teacher_values, heads)).square().mean(dim=(1, 3))  # (B, L)
            terms[name] = masked_row_sums(errors, batch.mask).sum() / totals.tokens
        return terms
