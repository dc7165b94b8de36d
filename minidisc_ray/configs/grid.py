"""Grids of candidate scales between teacher and student."""

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


def _grid_from_list(value: Any) -> Any:
    """Read ``scales: [60, 40, 20]`` as a grid of kind list."""
    if isinstance(value, int | float | str):
        raise ValueError(
            f"{value} is not a grid; write a list such as [60, 40, 20], or {{kind: step, step_percent: 5}}"
        )
    return {"kind": "list", "values": value} if isinstance(value, list) else value


GridConfig = Annotated[
    StepGridConfig | ListGridConfig | SlicesGridConfig, Field(discriminator="kind"), BeforeValidator(_grid_from_list)
]
