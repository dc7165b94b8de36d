"""MiniLMv2: ``sum over Q, K, V and heads of CE(R_T, R_S)`` of any teacher layer (comparison, equations 7 to 9)."""

from minidisc_ray.configs.objective import MiniLMv2Config
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import objective_of
from minidisc_ray.objectives._relations import RelationObjective


@objective_of(MiniLMv2Config)
class MiniLMv2Objective(RelationObjective):
    """Any number of relation heads that divides both widths, and any layer of the teacher for the student's last.

    Deviation: a student whose heads are pruned uses the extra attention module of L_TAD.
    """

    def __init__(self, config: MiniLMv2Config, pair: Pair) -> None:
        super().__init__(
            pair, config.num_relation_heads, config.teacher_layer, config.extra_attention, minus_entropy=False
        )
