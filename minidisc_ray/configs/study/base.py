"""The config of a study: the axes whose product its runs are, and figures that a paper printed for them."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.storage import Storage
from minidisc_ray.configs.study.grid import StudyGridConfig

# Sections whose entries have names, each with changes to the recipe.
AXES = ("teachers", "tasks", "methods")
TEACHER_ROW, MAJORITY_ROW = "Teacher", "Majority class"
# Columns of a paper's table that do not belong to a task.
AVERAGE, FLOPS, COST = "average", "flops_g", "cost"
_Value = TypeVar("_Value", int, str)
_GLUE_COLUMNS = ("sst2", "mrpc", "stsb", "qqp", "mnli_m", "mnli_mm", "mnli", "qnli", "rte", "cola", "wnli")

# Columns of a study's csv and json that do not belong to a task.
TABLE_COLUMNS = (
    "study", "budget", "teacher", "group", "label", "method", "student_scale_percent", "encoder_parameters",
    "total_parameters", "macs_at_128", "device_hours_ratio", "training_flops_ratio",
    "flops_ratio", "evaluation_flops", f"paper_{FLOPS}", f"paper_{COST}",
    "runs",
)  # fmt: skip
# Those of a study with a grid.
SEARCH_COLUMNS = ("search_device_hours_ratio", "search_flops_ratio")
STUDY_NAME = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9])?$")


def _empty_from_null(value: Any) -> Any:
    """Read ``rte:`` without a value as a task without changes."""
    return {} if value is None else value


def _no_bool(value: Any) -> Any:
    """Refuse ``yes`` and ``true`` in a list or mapping of numbers: pydantic would read them as 1."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    return value


def _distinct(values: tuple[_Value, ...]) -> tuple[_Value, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is listed twice; list each value once")
    return values


Scale = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=99)]
Seed = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, lt=2**31)]
AxisName = Annotated[str, Field(min_length=1, max_length=80)]


class Changes(Config):
    """Changes to the shared recipe, by any of its keys; they are checked with the whole recipe of each run."""

    model_config = ConfigDict(extra="allow")

    @property
    def changes(self) -> dict[str, Any]:
        """The changed keys of the recipe."""
        return dict(self.model_extra or {})


class OnlyConfig(Config):
    """The teachers, tasks, scales and seeds of a method that does not run with all of them."""

    teachers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None
    tasks: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None
    scales: Annotated[tuple[Scale, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)] | None = Field(
        None, description="Those that the study lacks are left out, so that a part of its seeds can run."
    )


class MethodConfig(Changes):
    """A row of the table: changes to the recipe, and which cells and part of the table the row has."""

    only: OnlyConfig = OnlyConfig()
    group: Literal["conventional", "assistant"] | None = Field(
        None, description="The part of the table that the row is in; by default assistant if its schedule has one."
    )


_Entry = Annotated[Changes, BeforeValidator(_empty_from_null)]
_MethodEntry = Annotated[MethodConfig, BeforeValidator(_empty_from_null)]

PrintedRows = dict[str, dict[int | str, dict[str, Annotated[float, BeforeValidator(_no_bool)]]]]


class PaperTeacherConfig(Config):
    """The size of a paper's teacher, by which the study's teacher is matched to it."""

    num_layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)


class PaperTableConfig(Config):
    """Figures that a paper printed for one teacher, by method, scale and column; metrics are in percent."""

    teacher: PaperTeacherConfig
    rows: PrintedRows = Field(min_length=1)
    average_of: tuple[str, ...] | None = Field(None, description="The average's columns; by default those printed.")


class PaperConfig(Config):
    """Figures that a paper printed: for one teacher, or for several by name."""

    teacher: PaperTeacherConfig | None = None
    rows: PrintedRows = Field(default_factory=dict)
    average_of: tuple[str, ...] | None = Field(None, description="The average's columns; by default those printed.")
    teachers: dict[str, PaperTableConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_teacher_or_several(self) -> "PaperConfig":
        has_one = self.teacher is not None and bool(self.rows)
        if has_one == bool(self.teachers) or (self.teacher is None) != (not self.rows):
            raise ValueError("give teacher and rows, or teachers, each with a teacher and rows of its own")
        return self

    @property
    def tables(self) -> dict[str, PaperTableConfig]:
        """The printed figures of each teacher."""
        if self.teacher is None:
            return self.teachers
        return {TEACHER_ROW: PaperTableConfig(teacher=self.teacher, rows=self.rows, average_of=self.average_of)}


class StudyConfig(Config):
    """A study after one of its budgets was applied: methods x tasks x scales x seeds, for each teacher."""

    name: str = Field(pattern=STUDY_NAME.pattern, description="Name of the study's folder in the storage.")
    title: str = Field("", max_length=200)
    recipe: dict[str, Any] = Field(description="The recipe that all runs share.")
    teachers: dict[AxisName, _Entry] | None = Field(None, min_length=1)
    tasks: dict[AxisName, _Entry] = Field(min_length=1)
    scales: Annotated[tuple[Scale, ...], Field(min_length=1), AfterValidator(_distinct)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]
    methods: dict[AxisName, _MethodEntry] = Field(min_length=1)
    grid: StudyGridConfig | None = Field(
        None, description="Values of the recipe's keys that are searched, for every method alike."
    )
    conventional: str | None = Field(None, description="The method whose cost is 1x.")
    baselines: tuple[str, ...] = Field(
        (), description="Methods that those with assistants are compared with, beside the conventional ones."
    )
    budget: str | None = Field(None, description="The budget that was applied.")
    storage: Storage = "minidisc-runs"
    paper: PaperConfig | None = None

    @property
    def teacher_names(self) -> tuple[str | None, ...]:
        """The teachers' names; None, for the recipe's own teacher, if the study has no teachers."""
        return (None,) if self.teachers is None else tuple(self.teachers)

    @property
    def grid_seed(self) -> int:
        """The seed whose runs the grid compares."""
        return self.seeds[0] if self.grid is None or self.grid.seed is None else self.grid.seed

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds that a method runs with."""
        only = self.methods[method].only.seeds
        return tuple(seed for seed in self.seeds if only is None or seed in only)

    @model_validator(mode="after")
    def _names_exist(self) -> "StudyConfig":
        if self.conventional is not None and self.conventional not in self.methods:
            raise ValueError(
                f"conventional: {self.conventional!r} is not a method of this study; use one of "
                f"{', '.join(self.methods)}"
            )
        for name in self.baselines:
            if name not in self.methods:
                raise ValueError(
                    f"baselines: {name!r} is not a method of this study; use some of {', '.join(self.methods)}"
                )
            if self.baselines.count(name) > 1:
                raise ValueError(f"baselines: {name!r} is listed twice; list each method once")
        for name, method in self.methods.items():
            axes = {"teachers": self.teachers or {}, "tasks": self.tasks, "scales": self.scales}
            for axis, values in axes.items():
                for value in getattr(method.only, axis) or ():
                    if value not in values:
                        listed = ", ".join(str(one) for one in values) or "it has none"
                        raise ValueError(f"methods.{name}.only.{axis}: {value} is not among the study's ({listed})")
        return self

    @model_validator(mode="after")
    def _printed_rows_have_methods(self) -> "StudyConfig":
        columns = {*_GLUE_COLUMNS, *self.tasks, AVERAGE, FLOPS, COST}
        for table in self.paper.tables.values() if self.paper else ():
            for column in table.average_of or ():
                if column not in columns - {AVERAGE, FLOPS, COST}:
                    raise ValueError(
                        f"paper.average_of: {column!r} is not a task's column; use a task's name, mnli_m or mnli_mm"
                    )
            for method, by_scale in table.rows.items():
                if method not in self.methods and method != TEACHER_ROW:
                    raise ValueError(
                        f"paper.rows: {method!r} is not a method of this study; use {TEACHER_ROW} or one of "
                        f"{', '.join(self.methods)}"
                    )
                for scale, figures in by_scale.items():
                    if unknown := [column for column in figures if column not in columns]:
                        raise ValueError(
                            f"paper.rows.{method}.{scale}: {unknown[0]!r} is not a column; use a task's name, mnli_m, "
                            f"mnli_mm, {AVERAGE}, {FLOPS} or {COST}"
                        )
                    for column, figure in figures.items():
                        is_metric = column not in (FLOPS, COST)
                        if figure < (-100 if is_metric else 0) or (is_metric and figure > 100):
                            allowed = "metrics are percents, from -100 to 100" if is_metric else "it is not below 0"
                            raise ValueError(
                                f"paper.rows.{method}.{scale}.{column}: {figure:g} is not allowed; {allowed}"
                            )
        return self
