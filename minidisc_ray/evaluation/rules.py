"""Rules that choose among the trials of a MaxiDisc sweep, by metrics on the selection split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff, negative_derivative


@dataclass(frozen=True)
class SelectionMetrics:
    """The input of a rule: metrics of one seed's sweep on the selection split.

    Attributes:
        assistants: scale percent -> the assistant's metric.
        students: scale percent -> the metric of the student distilled from it.
        teacher: the teacher's metric, where a rule needs it.
    """

    assistants: Mapping[int, float]
    students: Mapping[int, float]
    teacher: float | None = None


@dataclass(frozen=True)
class LambdaRule:
    """The assistant with the largest ``m + lam * (1 - s)`` (MiniDisc, definition 1)."""

    lam: float = 0.2

    @property
    def label(self) -> str:
        """The name in tables."""
        return f"λ-tradeoff, λ = {self.lam:g}"

    def tradeoffs(self, assistants: Mapping[int, float], teacher: float | None) -> dict[int, float]:  # noqa: ARG002
        """The trade-off of each scale.

        Raises:
            ValueError: as ``lambda_tradeoff``.
        """
        return lambda_tradeoff(assistants, self.lam)

    def pick(self, metrics: SelectionMetrics) -> int:
        """The chosen scale; the smallest if several are equal.

        Raises:
            ValueError: as ``lambda_tradeoff``.
        """
        return best_scale(self.tradeoffs(metrics.assistants, metrics.teacher))


@dataclass(frozen=True)
class NegativeDerivativeRule:
    """The assistant with the largest negative derivative of metric to scale (MiniDisc, appendix J)."""

    label: ClassVar[str] = "negative derivative"

    def tradeoffs(self, assistants: Mapping[int, float], teacher: float | None) -> dict[int, float]:
        """The trade-off of each scale.

        Raises:
            ValueError: if the teacher's metric is missing, and as ``negative_derivative``.
        """
        if teacher is None:
            raise ValueError("the negative derivative needs the teacher's metric on the selection split")
        return negative_derivative(assistants, teacher)

    def pick(self, metrics: SelectionMetrics) -> int:
        """The chosen scale; the smallest if several are equal.

        Raises:
            ValueError: if the teacher's metric is missing.
        """
        return best_scale(self.tradeoffs(metrics.assistants, metrics.teacher))


@dataclass(frozen=True)
class ParameterRatioRule:
    """The assistant whose encoder parameters are nearest to ``ratio`` times the student's.

    Attributes:
        encoder_parameters: scale percent -> parameters of the assistant's encoder.
        student_encoder_parameters: parameters of the student's encoder.
        ratio: the size that the assistant should have, in student sizes.
    """

    encoder_parameters: Mapping[int, int]
    student_encoder_parameters: int
    ratio: float = 2.5

    @property
    def label(self) -> str:
        """The name in tables."""
        return f"{self.ratio:g}x law"

    def pick(self, metrics: SelectionMetrics) -> int:
        """The chosen scale; the smallest if several are equally near.

        Raises:
            ValueError: if a trial's scale has no encoder parameters.
        """
        for scale in metrics.assistants:
            if scale not in self.encoder_parameters:
                raise ValueError(f"the {self.label} lacks the encoder parameters of the assistant at {scale} percent")
        target = self.ratio * self.student_encoder_parameters
        return best_scale({scale: -abs(self.encoder_parameters[scale] - target) for scale in metrics.assistants})


@dataclass(frozen=True)
class BestAssistantRule:
    """The assistant with the best metric on the selection split, without a trade-off (λ = 0)."""

    label: ClassVar[str] = "best assistant on selection"

    def pick(self, metrics: SelectionMetrics) -> int:
        """The chosen scale; the smallest if several are equal."""
        return best_scale(metrics.assistants)


@dataclass(frozen=True)
class BestStudentRule:
    """The trial with the best student on the selection split: MaxiDisc's own rule, which needs every trial."""

    label: ClassVar[str] = "best student on selection (MaxiDisc)"

    def pick(self, metrics: SelectionMetrics) -> int:
        """The chosen scale; the smallest if several are equal."""
        return best_scale(metrics.students)


@dataclass(frozen=True)
class NoAssistantRule:
    """The conventional student, distilled from the teacher without an assistant."""

    label: ClassVar[str] = "no assistant"

    def pick(self, metrics: SelectionMetrics) -> None:
        """None, as there is no assistant."""


TradeoffRule = LambdaRule | NegativeDerivativeRule
Rule = TradeoffRule | ParameterRatioRule | BestAssistantRule | BestStudentRule | NoAssistantRule
