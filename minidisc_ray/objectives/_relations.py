"""Deep relation alignment, the base of L_TAD, MiniLM and MiniLMv2.

Queries, keys and values of the student's last layer are matched with those of one teacher layer, in every relation
head. The three differ in the number of heads, the teacher layer and a constant, the teacher's entropy.
"""

from torch import Tensor

from minidisc_ray.core.pair import Pair
from minidisc_ray.core.relation import relation_cross_entropy_sum
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._attention import AttentionObjective


class RelationObjective(AttentionObjective):
    """``sum over Q, K, V of CE(R_T, R_S)``, or of KL, means over relation heads and real tokens.

    Deviation: equation 7 of the comparison sums over relation heads; with a mean their number does not scale the value.
    """

    def __init__(
        self, pair: Pair, num_heads: int, teacher_layer: int, extra_attention: str, minus_entropy: bool
    ) -> None:
        super().__init__(pair, num_heads, teacher_layer, extra_attention)
        self.minus_entropy = minus_entropy

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """A term each for queries, keys and values."""
        assert teacher is not None
        heads = self.sources.num_heads
        projections: list[tuple[Tensor, Tensor]] = self.sources(student, teacher)
        return {
            name: relation_cross_entropy_sum(student_values, teacher_values, heads, batch.mask, self.minus_entropy)
            / totals.tokens
            for name, (student_values, teacher_values) in zip(("queries", "keys", "values"), projections, strict=True)
        }
