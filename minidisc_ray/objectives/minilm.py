"""MiniLM: deep relation alignment of the last layer with the teacher's own number of heads (MiniDisc, section 4.1)."""

from minidisc_ray.configs.objective import MiniLMConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.objectives._base import objective_of
from minidisc_ray.objectives._relations import RelationObjective


@objective_of(MiniLMConfig)
class MiniLMObjective(RelationObjective):
    """``KL`` of query, key and value relations in as many relation heads as the teacher has attention heads.

    Deviation: the paper's MiniLM students keep all heads; pruned ones use the extra attention module of L_TAD.
    """

    def __init__(self, config: MiniLMConfig, pair: Pair) -> None:
        super().__init__(pair, pair.teacher.num_heads, -1, config.extra_attention, minus_entropy=True)
