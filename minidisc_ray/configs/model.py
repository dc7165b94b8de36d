"""Configs of the teacher, the student and pruning."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.core.depth import Take

_ALLOW_AT_CHANCE = Field(
    False, description="Go on with a teacher that scores no better on the selection split than its most common class."
)


class BuiltinTeacherConfig(Config):
    """A tiny BERT that the package builds and trains itself."""

    kind: Literal["builtin"] = "builtin"
    num_layers: int = Field(4, ge=1, le=12)
    hidden_size: int = Field(96, ge=16, le=1024)
    num_heads: int = Field(8, ge=1, le=64)
    intermediate_size: int = Field(384, ge=8, le=4096)
    allow_at_chance: bool = _ALLOW_AT_CHANCE


class PretrainedTeacherConfig(Config):
    """A model's folder or hub name; fine-tuned first unless it has a trained classification head."""

    section: ClassVar[str] = "teacher"
    kind: Literal["pretrained"] = "pretrained"
    path: str = Field(description="A folder or a name on the hub.")
    revision: str | None = None
    fine_tuned: Literal["auto"] | bool = Field(
        "auto", description="auto: as it is if its checkpoint is a sequence classifier, else fine-tuned first."
    )
    num_layers: int | None = Field(None, ge=1, description="Keep only the first layers, for small experiments.")
    license: str | None = Field(None, description="Licence of the model, for the student's model card; never guessed.")
    trust_remote_code: bool = Field(False, description="Run code that comes with the model; off unless you say so.")
    allow_at_chance: bool = _ALLOW_AT_CHANCE


TeacherConfig = Annotated[BuiltinTeacherConfig | PretrainedTeacherConfig, Field(discriminator="kind")]


class PrunedStudentConfig(Config):
    """A student with all layers of its teacher or assistant, their heads and neurons pruned to a scale."""

    kind: Literal["pruned"] = "pruned"
    scale_percent: int = Field(10, ge=1, le=99, description="Share kept of attention heads and of neurons.")


class LayersStudentConfig(Config):
    """A student with some layers of its teacher or assistant, at full width or pruned."""

    kind: Literal["layers"] = "layers"
    num_layers: int = Field(ge=1, description="Layers of the student.")
    take: Take = Field(
        "uniform",
        description="Which layers: uniform, evenly spread with the topmost; first or last, those at that end.",
    )
    width_percent: int = Field(100, ge=1, le=100, description="Share kept of the taken layers' heads and neurons.")
    scale_percent: int | None = Field(
        None, ge=1, le=99, description="Share kept of the teacher's heads and neurons: computed, not chosen."
    )


class CheckpointStudentConfig(Config):
    """A student that is a smaller pretrained encoder with the teacher's vocabulary, not cut from another model."""

    section: ClassVar[str] = "student"
    kind: Literal["checkpoint"] = "checkpoint"
    path: str = Field(description="A folder or a name on the hub.")
    revision: str | None = None
    fine_tuned: Literal["auto"] | bool = Field(
        "auto", description="auto: with its own head if its checkpoint is a sequence classifier, else with a new one."
    )
    num_layers: int | None = Field(None, ge=1, description="Keep only the first layers.")
    trust_remote_code: bool = Field(False, description="Run code that comes with the model; off unless you say so.")
    scale_percent: int | None = Field(
        None, ge=1, le=99, description="Its encoder's parameters as a share of the teacher's: computed, not chosen."
    )


StudentConfig = Annotated[
    PrunedStudentConfig | LayersStudentConfig | CheckpointStudentConfig, Field(discriminator="kind")
]

# A model that is read from a folder or from the hub, as teacher or student.
Checkpoint = PretrainedTeacherConfig | CheckpointStudentConfig


def _rows_or_auto(value: Any) -> Any:
    if value is None or value == "auto" or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError(f"{value} is not allowed; use a whole number from 1, auto, or null for all rows")


class PruningConfig(Config):
    """How the importance of heads and neurons is measured, and which ones stay (MiniDisc, appendix A)."""

    keys_added: ClassVar[frozenset[str]] = frozenset({"importance"})

    importance: Literal["gradient", "magnitude"] = Field(
        "gradient",
        description="gradient: of the loss on training rows; magnitude: of the weights alone, without rows.",
    )
    ranking: Literal["global", "local"] = Field(
        "global", description="global: rank over all layers; local: rank in each layer."
    )
    neuron_multiple: int = Field(
        8, ge=1, le=256, description="Neurons of a layer are rounded to a multiple of this; 1 is exact."
    )
    importance_rows: Annotated[int | Literal["auto"] | None, BeforeValidator(_rows_or_auto)] = Field(
        None, description="Training rows used for importance, all by default; auto: a sample whose ranking is stable."
    )

    @model_validator(mode="after")
    def _magnitude_reads_no_rows(self) -> "PruningConfig":
        if self.importance == "magnitude" and self.importance_rows is not None:
            raise ValueError(
                f"importance_rows is {self.importance_rows}, but importance magnitude reads weights alone; leave one "
                "of them out"
            )
        return self
