"""What is matched between teacher and student."""

from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config


class LTSDConfig(Config):
    """L_TSD: soft cross-entropy on logits and mean squared error of the last hidden states (MiniDisc, equation 2)."""

    kind: Literal["ltsd"] = "ltsd"
    logits_weight: float = Field(1.0, ge=0.0)
    hidden_weight: float = Field(1.0, ge=0.0)


ObjectiveConfig = LTSDConfig
