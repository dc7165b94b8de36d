"""What is matched between teacher and student."""

from typing import Literal

from pydantic import Field, model_validator

from minidisc_ray.configs.base import Config


class LTSDConfig(Config):
    """L_TSD: soft cross-entropy on logits and mean squared error of the last hidden states (MiniDisc, equation 2)."""

    kind: Literal["ltsd"] = "ltsd"
    logits_weight: float = Field(1.0, ge=0.0, le=1e6)
    hidden_weight: float = Field(1.0, ge=0.0, le=1e6)

    @model_validator(mode="after")
    def _matches_something(self) -> "LTSDConfig":
        if self.logits_weight == 0 and self.hidden_weight == 0:
            raise ValueError("logits_weight and hidden_weight are both 0; at least one must be positive")
        return self


ObjectiveConfig = LTSDConfig
