"""What a run cost, as ``result.json`` has it: by stage and attempt, useful, lost and idle."""

from typing import Any, Literal

from pydantic import Field, model_validator

from minidisc_ray.configs.base import Config


class _Losses(Config):
    @model_validator(mode="before")
    @classmethod
    def _all_useful(cls, given: Any) -> Any:
        """Older results lack losses: all that they held counts as useful."""
        if not isinstance(given, dict):
            return given
        hours, lost = given.get("device_hours"), given.get("lost_device_hours", 0.0)
        are_numbers = isinstance(hours, int | float) and isinstance(lost, int | float)
        return {"useful_device_hours": hours - lost, **given} if are_numbers else given


class StageCost(_Losses):
    """Device-hours and FLOPs of one stage over all attempts; ``device_hours`` is useful plus lost, without idle."""

    stage: str
    trial: str = "main"
    seconds: float = Field(description="Seconds held by the stage itself.")
    devices: float
    device_type: str = Field(description="cpu-core, or a GPU's name.")
    device_hours: float
    useful_device_hours: float = Field(description="Of finished attempts, and of others up to their last checkpoint.")
    lost_device_hours: float = Field(0.0, ge=0.0, description="Of work that had to be done again.")
    idle_device_hours: float = Field(
        0.0, ge=0.0, description="Held outside every stage, before this one began; and after it if it was the last."
    )
    attempts: int = Field(1, ge=0)
    energy_joules: float | None = Field(None, ge=0.0, description="Of the GPUs of all attempts, where it was measured.")
    training_flops: float
    evaluation_flops: float | None = Field(
        None, ge=0.0, description="Of forward passes that scored rows; None: not counted."
    )
    num_epochs: int | None = None
    reused: bool = Field(False, description="Executed by an earlier run; charged all the same.")
    in_ratio: bool = Field(True, description="False for teacher fine-tuning, which has its own column.")


class AttemptCost(Config):
    """Device-hours of one attempt: useful, lost and idle."""

    stage: str = Field(description="The stage's name; the hold's where no stage began in it.")
    trial: str
    number: int = Field(description="Among the trial's attempts at the stage, from 1.")
    status: str
    node: str
    device_type: str
    device_model: str
    devices: float
    seconds: float
    useful_device_hours: float
    lost_device_hours: float
    idle_device_hours: float
    energy_joules: float | None = None


class CostRecord(_Losses):
    """Costs by stage; sums leave out teacher fine-tuning and start-up, which have fields of their own."""

    stages: tuple[StageCost, ...]
    device_hours: float = Field(description="Useful plus lost, of all stages that count in ratios.")
    useful_device_hours: float
    lost_device_hours: float = Field(0.0, ge=0.0)
    training_flops: float
    evaluation_flops: float | None = Field(
        None,
        ge=0.0,
        description="Of forward passes that scored rows; None in older results, which did not count them.",
    )
    teacher_device_hours: float
    teacher_training_flops: float
    teacher_evaluation_flops: float | None = Field(None, ge=0.0)
    startup_device_hours: float = Field(
        description="Idle: held before the first stage began, between stages and attempts, and after the last one."
    )
    device_unit: Literal["core-hours", "GPU-hours"]
    attempts: tuple[AttemptCost, ...] = Field((), description="Of this run's own ledger, without reused stages.")
    energy_joules: float | None = Field(None, ge=0.0, description="Of the stages that count in ratios.")
    price_per_device_hour: float | None = Field(None, ge=0.0)
    price: float | None = Field(None, ge=0.0, description="Of useful, lost and idle device-hours.")
    currency: str | None = None

    @property
    def flops(self) -> float | None:
        """Training plus evaluation, which ratios compare; None where evaluation was not counted."""
        return None if self.evaluation_flops is None else self.training_flops + self.evaluation_flops

    @property
    def idle_device_hours(self) -> float:
        """Held outside every stage; the same as ``startup_device_hours``."""
        return self.startup_device_hours

    @property
    def priced_device_hours(self) -> float:
        """Useful plus lost plus idle, which the price is of."""
        return self.useful_device_hours + self.lost_device_hours + self.idle_device_hours
