"""Grids of candidate scales between teacher and student."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.core.grid import grid_by_slices, grid_by_step, grid_by_times, grid_of


class StepGridConfig(Config):
    """Every multiple of a step strictly between student and teacher."""

    kind: Literal["step"] = "step"
    step_percent: int = Field(5, ge=1, le=99)

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_by_step(student_percent, self.step_percent)


class ListGridConfig(Config):
    """Candidate scales as listed."""

    kind: Literal["list"] = "list"
    values: Annotated[tuple[int, ...], Field(min_length=1)]

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_of(self.values, student_percent)


class SlicesGridConfig(Config):
    """The borders of n equal slices from student to teacher, which have to be whole percents (the papers' n)."""

    kind: Literal["slices"] = "slices"
    count: int = Field(ge=2, le=99)

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_by_slices(student_percent, self.count)


class TimesGridConfig(Config):
    """Evenly spaced multiples of the student's scale, around the size that the 2.5x law asks for."""

    kind: Literal["times"] = "times"
    smallest_times: float = Field(1.5, gt=1.0, le=99.0, description="The smallest candidate's multiple.")
    largest_times: float = Field(4.0, gt=1.0, le=99.0, description="The largest candidate's multiple.")
    num_candidates: int = Field(
        6, ge=1, le=98, description="Fewer where multiples reach the teacher, or round to the same percent."
    )

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> "TimesGridConfig":
        if self.largest_times < self.smallest_times:
            raise ValueError(
                f"largest_times is {self.largest_times:g}, less than smallest_times, {self.smallest_times:g}; swap them"
            )
        return self

    def scales(self, student_percent: int) -> tuple[int, ...]:
        """The candidates, largest first."""
        return grid_by_times(student_percent, self.smallest_times, self.largest_times, self.num_candidates)


def _grid_from_list(value: Any) -> Any:
    """Read ``scales: [60, 40, 20]`` as a grid of kind list."""
    if isinstance(value, int | float | str):
        raise ValueError(
            f"{value} is not a grid; write a list such as [60, 40, 20], or {{kind: step, step_percent: 5}}"
        )
    return {"kind": "list", "values": value} if isinstance(value, list) else value


GridConfig = Annotated[
    StepGridConfig | ListGridConfig | SlicesGridConfig | TimesGridConfig,
    Field(discriminator="kind"),
    BeforeValidator(_grid_from_list),
]
