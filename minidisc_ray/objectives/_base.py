"""What every objective keeps to, and where objectives are found by their configs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from minidisc_ray.configs.objective_base import ObjectiveBase
from minidisc_ray.core.pair import Pair
from minidisc_ray.core.trace import NOTHING, Batch, Totals, Trace, Wanted


@dataclass(frozen=True)
class Needs:
    """What an objective asks for; nothing else is computed or kept.

    Attributes:
        teacher: of the teacher's forward pass; a teacher of whom nothing is wanted never runs.
        student: of the student's; its logits are always there.
        labels: whether labels are read.
        rows: rows that one worker has to have in one part of a batch for the value to mean anything.
    """

    teacher: Wanted = NOTHING
    student: Wanted = NOTHING
    labels: bool = False
    rows: int = 1

    @property
    def reads_predictions(self) -> bool:
        """Whether the student's classifier learns anything from it."""
        return self.student.logits or self.labels

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.teacher | other.teacher,
            self.student | other.student,
            self.labels or other.labels,
            max(self.rows, other.rows),
        )


class Objective(nn.Module, ABC):
    """A loss between a student's and a teacher's outputs.

    A value is a sum over rows or tokens divided by the counts of the *whole* optimiser step, so that parts accumulated
    on one worker, or computed on several, add up to the value of the step in one piece. Parameters of this module are
    the objective's own: they are trained and checkpointed with the student and never saved in it.
    """

    @abstractmethod
    def needs(self) -> Needs:
        """What the models have to give."""

    @abstractmethod
    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """Scalars by name, in float32 and weighted already; their sum is the loss.

        Args:
            student: what :meth:`needs` asks of it, and logits, (B, C).
            teacher: the same of the teacher, detached; None if nothing is asked of it.
            batch: the rows; its mask, (B, L), marks padding.
            totals: rows and tokens of the whole step.
        """

    def set_progress(self, fraction: float) -> None:
        """Tell how much of training is done, in [0, 1], before each step."""

    def final_phase_start(self) -> float:
        """The share of training after which it stays what it is; early stopping counts from there."""
        return 0.0

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Take over the parts, by name, that were trained with the model that now is the teacher.

        Raises:
            ValueError: if some that it cannot do without are missing.
        """


Builder = Callable[[Any, Pair], Objective]
_BUILDERS: dict[type[ObjectiveBase], Builder] = {}


def objective_of(config_class: type[ObjectiveBase]) -> Callable[[Builder], Builder]:
    """Class decorator: recipes with this config are this objective."""

    def register(builder: Builder) -> Builder:
        _BUILDERS[config_class] = builder
        return builder

    return register


def build_objective(config: ObjectiveBase, pair: Pair) -> Objective:
    """The objective that a recipe names, for a teacher and a student.

    Raises:
        UserError: if these models or their task cannot give what it needs.
    """
    return _BUILDERS[type(config)](config, pair)


def below(prefix: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of one submodule, by the names that they have in it."""
    return {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
