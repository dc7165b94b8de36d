"""One objective after another in one training, itself an objective (comparison, section 4: OD transfer after HS)."""

from collections.abc import Mapping
from itertools import accumulate

from torch import Tensor

from minidisc_ray.configs.objective import SequenceConfig
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import Batch, Totals, Trace
from minidisc_ray.objectives._base import Needs, Objective, objective_of, submodule_parts
from minidisc_ray.objectives._children import Children


@objective_of(SequenceConfig)
class SequenceObjective(Objective):
    """Each phase has its share of the steps, and its terms under names such as ``ltad.queries``.

    Deviation: the papers train each phase with a learning rate schedule of its own; here one schedule spans all.
    """

    def __init__(self, config: SequenceConfig, pair: Pair) -> None:
        super().__init__()
        self.phases = Children([phase.objective for phase in config.phases], pair)
        total = sum(phase.share for phase in config.phases)
        ends = [end / total for end in accumulate(phase.share for phase in config.phases)]
        self.spans = list(zip([0.0, *ends], ends, strict=False))
        self.current = 0

    def needs(self) -> Needs:
        """What any phase needs: the teacher's outputs are cached before the first one."""
        return self.phases.needs()

    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """The terms of the current phase."""
        name, phase = self.phases.items()[self.current]
        return {f"{name}.{term}": value for term, value in phase(student, teacher, batch, totals).items()}

    def set_progress(self, fraction: float) -> None:
        """Choose the phase, and set the share of its own steps that is done."""
        last = len(self.spans) - 1
        self.current = next((place for place, (_, end) in enumerate(self.spans) if fraction < end), last)
        start, end = self.spans[self.current]
        self.phases.items()[self.current][1].set_progress(min(1.0, (fraction - start) / (end - start)))

    def final_phase_start(self) -> float:
        """The last phase's own value, as a share of the whole training."""
        start, end = self.spans[-1]
        return start + self.phases.items()[-1][1].final_phase_start() * (end - start)

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load each phase's own parts."""
        self.phases.follow(submodule_parts("phases.", parts))
