"""What a finished stage leaves behind: ``record.json``, and a model beside it where it made one."""

from pathlib import Path

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config
from minidisc_ray.pipeline.files import read_json, write_text


class StageRecord(Config):
    """One finished stage.

    Attributes are those of every kind of stage; those that do not apply are empty.
    """

    stage: str
    trial: str = "main"
    scale_percent: int | None = None
    num_epochs: int | None = None
    best_epoch: int | None = None
    training_flops: float = 0.0
    step_seconds: float | None = Field(None, description="Of the median step.")
    step_memory_bytes: int | None = Field(None, description="Added by the largest step at its peak.")
    selection_metrics: dict[int, dict[str, float]] = Field(default_factory=dict, description="By scale percent.")
    validation_metrics: dict[str, float] = Field(default_factory=dict)
    chosen_percent: int | None = None
    chosen_chain: tuple[int, ...] = Field((), description="Every assistant chosen together, largest first.")
    tradeoffs: dict[int, float] = Field(default_factory=dict)

    @property
    def percent(self) -> int:
        """The scale of the one model that the stage left."""
        assert self.scale_percent is not None, f"{self.stage} leaves no single model"
        return self.scale_percent


def read_record(folder: Path) -> StageRecord | None:
    """A stage's record; None if the stage is not finished."""
    raw = read_json(folder / "record.json")
    if raw is None:
        return None
    try:
        return StageRecord.model_validate(raw)
    except ValidationError:
        return None


def write_record(folder: Path, record: StageRecord) -> None:
    """Mark a stage as finished; the last thing that it does."""
    write_text(folder / "record.json", record.model_dump_json(indent=2) + "\n")
