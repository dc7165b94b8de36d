"""L_TAD: ``KL(R_Q) + KL(R_K) + KL(R_V)`` of the last layer's relations (MiniDisc, equation 2)."""

from minidisc_ray.configs.objective import LTADConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import objective_of
from minidisc_ray.objectives._relations import RelationObjective


@objective_of(LTADConfig)
class LTADObjective(RelationObjective):
    """Relations in 32 heads; a candidate, whose heads are pruned, has one more self-attention module as last layer.

    The module is trained with the candidate, speaks for it when it becomes the teacher, and is in no saved student.
    It starts at random: what it reads, the last hidden states, is no layer's input in the teacher.
    """

    def __init__(self, config: LTADConfig, pair: Pair) -> None:
        super().__init__(pair, config.num_relation_heads, -1, config.extra_attention, minus_entropy=True)
