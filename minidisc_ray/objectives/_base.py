"""The base class of objectives, and the registry that builds them from their configs."""

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
    """What an objective needs; nothing else is computed or kept.

    Attributes:
        teacher: outputs of the teacher; if none are wanted it never runs.
        student: outputs of the student; its logits are always given.
        labels: whether labels are read.
        rows: the fewest rows, in one part of a batch on one worker, for which the value is defined.
    """

    teacher: Wanted = NOTHING
    student: Wanted = NOTHING
    labels: bool = False
    rows: int = 1

    @property
    def reads_predictions(self) -> bool:
        """Whether the student's classifier gets a gradient."""
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
        """The outputs and labels that :meth:`forward` reads."""

    @abstractmethod
    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """Scalars by name, in float32 and weighted already; their sum is the loss.

        Args:
            student: the student's outputs that :meth:`needs` names, and its logits, (B, C).
            teacher: the teacher's, detached; None if none are needed.
            batch: the rows; its mask, (B, L), marks padding.
            totals: rows and tokens of the whole step.
        """

    def set_progress(self, fraction: float) -> None:
        """Set the share of training that is done, in [0, 1]; called before each step."""

    def final_phase_start(self) -> float:
        """The share of training after which the terms no longer change; early stopping counts from there."""
        return 0.0

    def follow(self, parts: Mapping[str, Tensor]) -> None:
        """Load the objective's own parts from the stage that trained the present teacher.

        Args:
            parts: by name.

        Raises:
            ValueError: if a part that the objective needs is missing.
        """


Builder = Callable[[Any, Pair], Objective]
_BUILDERS: dict[type[ObjectiveBase], Builder] = {}


def objective_of(config_class: type[ObjectiveBase]) -> Callable[[Builder], Builder]:
    """Decorator that registers the class or function which builds the objective of a config."""

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


def submodule_parts(prefix: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts whose names start with a submodule's prefix, by their names without it."""
    return {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
