"""Rules that choose an assistant."""

from typing import Annotated, Literal

from pydantic import Field

from minidisc_ray.configs.base import Config

PAPER_LAMBDA = 0.2


class LambdaSelectionConfig(Config):
    """Choose by ``m + lambda (1 - s)`` (MiniDisc, definition 1)."""

    kind: Literal["lambda"] = "lambda"
    lam: float = Field(PAPER_LAMBDA, ge=0.0, le=1.0)


class NegativeDerivativeSelectionConfig(Config):
    """Choose by the negative derivative of performance to scale (MiniDisc, appendix J)."""

    kind: Literal["negative_derivative"] = "negative_derivative"
    order: Literal[1, 2] = Field(
        1, description="1: difference to the next larger candidate; 2: to both neighbours, with less variance."
    )

    @property
    def note(self) -> str:
        """The name in tables."""
        return "ND" if self.order == 1 else f"ND of order {self.order}"


SelectionConfig = Annotated[LambdaSelectionConfig | NegativeDerivativeSelectionConfig, Field(discriminator="kind")]


class StudentSelectionConfig(Config):
    """Choose the assistant whose student is best, after all students are trained."""

    kind: Literal["student"] = "student"
