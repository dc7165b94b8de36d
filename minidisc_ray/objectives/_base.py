"""What every objective keeps to."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from minidisc_ray.core.trace import Batch, Totals, Trace


@dataclass(frozen=True)
class Needs:
    """What an objective wants of the teacher; nothing else is computed or kept.

    Attributes:
        teacher_logits: the teacher's logits.
        teacher_hidden: the teacher's last hidden states.
    """

    teacher_logits: bool = False
    teacher_hidden: bool = False

    @property
    def teacher(self) -> bool:
        """Whether the teacher has to run at all."""
        return self.teacher_logits or self.teacher_hidden


class Objective(nn.Module, ABC):
    """A loss between a student's and a teacher's outputs.

    A value is a sum over rows or tokens divided by the counts of the *whole* optimiser step, so that parts accumulated
    on one worker, or computed on several, add up to the value of the step in one piece.
    """

    @abstractmethod
    def needs(self) -> Needs:
        """What the teacher has to give."""

    @abstractmethod
    def forward(self, student: Trace, teacher: Trace | None, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        """Scalars by name, weighted already; their sum is the loss.

        Args:
            student: logits (B, C) and last hidden states (B, L, D).
            teacher: the same, detached; None if :meth:`needs` asks for nothing.
            batch: the rows; padding is told by its mask, (B, L).
            totals: rows and tokens of the whole step.
        """
