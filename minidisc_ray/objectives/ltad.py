"""L_TAD: ``KL(R_Q) + KL(R_K) + KL(R_V)`` of the last layer's relations (MiniDisc, equation 2)."""

from minidisc_ray.configs.objective import LTADConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import objective_of
from minidisc_ray.objectives._relations import RelationObjective


@objective_of(LTADConfig)
class LTADObjective(RelationObjective):
    """Relations in 32 heads; a candidate, whose heads are pruned, has one more self-attention module as last layer.

    The module is trained with the candidate, is used again when the candidate becomes the teacher, and is saved with no
    student. It starts from random weights: no layer of the teacher reads the last hidden states, as it does.
    """

    def __init__(self, config: LTADConfig, pair: Pair) -> None:
        super().__init__(pair, config.num_relation_heads, -1, config.extra_attention, minus_entropy=True)
