"""Schedules: by which way the teacher reaches the student."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from minidisc_ray.configs.base import Config
from minidisc_ray.core.grid import grid_by_slices, grid_by_step, grid_of


class StepGridConfig(Config):
    """Every multiple of a step strictly between student and teacher."""

    kind: Literal["step"] = "step"
    step_percent: int = Field(5, ge=1, le=99)

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_by_step(student_percent, self.step_percent)


class ListGridConfig(Config):
    """The scales themselves."""

    kind: Literal["list"] = "list"
    values: Annotated[tuple[int, ...], Field(min_length=1)]

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_of(self.values, student_percent)


class SlicesGridConfig(Config):
    """Borders of n equal slices, where they are whole percents (the papers' n)."""

    kind: Literal["slices"] = "slices"
    count: int = Field(ge=2, le=99)

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_by_slices(student_percent, self.count)


def _list_is_short(value: Any) -> Any:
    """``scales: [60, 40, 20]`` is short for a grid of kind list."""
    return {"kind": "list", "values": value} if isinstance(value, list) else value


GridConfig = Annotated[
    StepGridConfig | ListGridConfig | SlicesGridConfig, Field(discriminator="kind"), BeforeValidator(_list_is_short)
]


class LambdaSelectionConfig(Config):
    """Choose by ``m + lambda (1 - s)`` (MiniDisc, definition 1)."""

    kind: Literal["lambda"] = "lambda"
    lam: float = Field(0.2, ge=0.0, le=1.0)


class NegativeDerivativeSelectionConfig(Config):
    """Choose by the negative derivative of performance to scale (MiniDisc, appendix J)."""

    kind: Literal["negative_derivative"] = "negative_derivative"


SelectionConfig = Annotated[LambdaSelectionConfig | NegativeDerivativeSelectionConfig, Field(discriminator="kind")]


class ConventionalConfig(Config):
    """Teacher to student, without an assistant: the 1x of every cost ratio."""

    kind: Literal["conventional"] = "conventional"


class SparseTeacherConfig(Config):
    """The teacher pruned but not trained any further, then to the student (after StarK's sparse teachers)."""

    kind: Literal["sparse_teacher"] = "sparse_teacher"
    teacher_percent: int = Field(90, ge=2, le=99)


class AssistantConfig(Config):
    """Teacher to one assistant at a fixed scale, then to the student (TA)."""

    kind: Literal["assistant"] = "assistant"
    assistant_percent: int = Field(40, ge=2, le=99)


class MiniDiscConfig(Config):
    """One trial: a sandwich of candidates, one choice, one distillation."""

    kind: Literal["minidisc"] = "minidisc"
    scales: GridConfig = StepGridConfig()
    num_sampled: int = Field(6, ge=1, description="Candidates trained at each step (eta), both ends among them.")
    sampling: Literal["fixed", "per_step"] = "fixed"
    selection: SelectionConfig = LambdaSelectionConfig()


class MaxiDiscConfig(Config):
    """Every scale tried in full, each as a trial of its own; the best student is kept."""

    kind: Literal["maxidisc"] = "maxidisc"
    scales: GridConfig = StepGridConfig()


ScheduleConfig = Annotated[
    ConventionalConfig | SparseTeacherConfig | AssistantConfig | MiniDiscConfig | MaxiDiscConfig,
    Field(discriminator="kind"),
]
