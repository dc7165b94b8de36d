"""The config of a whole recipe."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.configs.data import BuiltinDataConfig, DataConfig
from minidisc_ray.configs.messages import message_of
from minidisc_ray.configs.model import (
    BuiltinTeacherConfig,
    PrunedStudentConfig,
    PruningConfig,
    StudentConfig,
    TeacherConfig,
)
from minidisc_ray.configs.objective import LTSDConfig, ObjectiveConfig
from minidisc_ray.configs.schedule import (
    AssistantConfig,
    AutoConfig,
    ConventionalConfig,
    LawConfig,
    MaxiDiscConfig,
    MiniDiscConfig,
    ScheduleConfig,
    SparseTeacherConfig,
)
from minidisc_ray.configs.storage import Storage
from minidisc_ray.configs.task import BuiltinTaskConfig, GlueTaskConfig, TaskConfig
from minidisc_ray.configs.task_name import name_from_data
from minidisc_ray.configs.tracking import NoTrackingConfig, TrackingConfig
from minidisc_ray.configs.training import ComputeConfig, Precision, TrainingConfig

_MIN_EPOCHS_WITH_PROBES = 2


def _task_from_name(value: Any) -> Any:
    """Read ``task: mrpc`` and ``task: builtin`` as mappings."""
    if isinstance(value, str):
        return {"kind": "builtin"} if value == "builtin" else {"kind": "glue", "name": value}
    return value


class RunConfig(Config):
    """A recipe with all defaults filled in: everything that one run needs, in the order of its ``config.yaml``.

    Example:
        >>> config = plan(recipe).config
        >>> config.schedule.kind, config.seed
        ('minidisc', 0)
    """

    task: Annotated[TaskConfig, BeforeValidator(_task_from_name)] = BuiltinTaskConfig()
    data: DataConfig = BuiltinDataConfig()
    teacher: TeacherConfig = BuiltinTeacherConfig()
    student: StudentConfig = PrunedStudentConfig()
    schedule: ScheduleConfig = MiniDiscConfig()
    objective: ObjectiveConfig = LTSDConfig()
    pruning: PruningConfig = PruningConfig()
    finetune: TrainingConfig = TrainingConfig(num_epochs=3)
    sandwich: TrainingConfig | None = Field(None, description="Training of the sandwich; by default as distil.")
    distil: TrainingConfig = TrainingConfig()
    protocol: Literal["held_out", "paper"] = Field(
        "held_out", description="held_out: choices never use validation rows; paper: they do, as in the papers."
    )
    precision: Precision = Field("auto", description="auto: bfloat16 autocast on GPUs, float32 elsewhere.")
    seed: int = Field(0, ge=0, lt=2**31)
    compute: ComputeConfig = ComputeConfig()
    track: TrackingConfig = NoTrackingConfig()
    storage: Storage = Field(
        "minidisc-runs", description="A folder that every worker can reach, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
    )
    name: str | None = Field(None, description="The run's name; by default derived from the config.")

    @property
    def task_name(self) -> str:
        """What run names and tables call the task: its name, or for a user's own one that of its data by default."""
        if isinstance(self.task, BuiltinTaskConfig):
            return self.task.kind
        return self.task.name or name_from_data(self.data) or self.task.kind

    @property
    def sandwich_training(self) -> TrainingConfig:
        """The sandwich's training config: its own, or distil's."""
        return self.sandwich or self.distil

    @property
    def distil_training(self) -> TrainingConfig:
        """The training config of distillations; a schedule with matched cost replaces the number of epochs."""
        schedule = self.schedule
        if not isinstance(schedule, ConventionalConfig) or schedule.num_epochs is None:
            return self.distil
        return self.distil.model_copy(update={"num_epochs": schedule.num_epochs, "early_stop_epochs": None})

    @property
    def full_schedule(self) -> ScheduleConfig:
        """The schedule, or for ``auto`` the one with an assistant: every scale that the run may use is in it."""
        return self.schedule.then if isinstance(self.schedule, AutoConfig) else self.schedule

    @property
    def student_percent(self) -> int:
        """The student's scale in percent; ``prepare`` computes it unless the student's kind is pruned."""
        percent = self.student.scale_percent
        assert percent is not None, "the student's scale is read before prepare has computed it"
        return percent

    def with_student_scale(self, percent: int) -> "RunConfig":
        """The recipe with the student's scale set, checked as a whole.

        Raises:
            UserError: if the scale does not fit the rest of the recipe.
        """
        return self._changed(student=self.student.model_copy(update={"scale_percent": percent}))

    def with_assistant(self, percent: int) -> "RunConfig":
        """The recipe with the scale of its schedule's assistant set, checked as a whole.

        Raises:
            UserError: if the scale does not fit the rest of the recipe.
        """
        schedule = self.full_schedule.model_copy(update={"assistant_percent": percent})
        if isinstance(self.schedule, AutoConfig):
            schedule = self.schedule.model_copy(update={"then": schedule})
        return self._changed(schedule=schedule)

    def with_num_epochs(self, count: int) -> "RunConfig":
        """The recipe with the number of epochs of its conventional schedule set."""
        return self._changed(schedule=self.schedule.model_copy(update={"num_epochs": count}))

    def with_schedule(self, schedule: ScheduleConfig) -> "RunConfig":
        """The recipe with another schedule, checked as a whole.

        Raises:
            UserError: if the schedule does not fit the rest of the recipe.
        """
        return self._changed(schedule=schedule)

    def with_objective(self, objective: ObjectiveConfig) -> "RunConfig":
        """The recipe with another objective, checked as a whole, and with the name that derives from it.

        Raises:
            UserError: if the objective does not fit the rest of the recipe.
        """
        return self._changed(objective=objective, name=None)

    def _changed(self, **values: Config | None) -> "RunConfig":
        try:
            return RunConfig.model_validate({**dict(self), **values})
        except ValidationError as error:
            raise UserError(message_of(error, RunConfig)) from error

    def candidate_scales(self) -> tuple[int, ...]:
        """The scales between teacher and student, largest first; none for a conventional schedule."""
        schedule = self.full_schedule
        match schedule:
            case MiniDiscConfig() | MaxiDiscConfig():
                return schedule.scales.scales(self.student_percent)
            case AssistantConfig():
                return (schedule.assistant_percent,)
            case LawConfig(assistant_percent=percent) if percent is not None:
                return (percent,)
            case SparseTeacherConfig():
                return (schedule.teacher_percent,)
        return ()

    @model_validator(mode="after")
    def _scales_fit(self) -> "RunConfig":
        student = self.student.scale_percent
        if student is None:
            # with_student_scale checks the whole config again.
            return self
        schedule = self.full_schedule
        section = "schedule" if schedule is self.schedule else "schedule.then"
        for key in ("assistant_percent", "teacher_percent"):
            percent = getattr(schedule, key, None)
            if percent is not None and percent <= student:
                raise ValueError(
                    f"{section}.{key}: {percent} is not above the student's own scale of {student} percent; use "
                    + (f"a value between {student + 1} and 99" if student < 99 else "a smaller student")
                )
        try:
            scales = self.candidate_scales()
            # A law's grid must be valid even before its assistant is computed from it.
            grid = schedule.scales.scales(student) if isinstance(schedule, LawConfig) else scales
        except ValueError as error:
            raise ValueError(f"{section}.scales: {error}") from error
        if isinstance(schedule, LawConfig) and not set(scales) <= set(grid):
            raise ValueError(
                f"{section}.assistant_percent: {schedule.assistant_percent} is not among {section}.scales; leave it "
                "out, it is computed"
            )
        has_sandwich = isinstance(schedule, MiniDiscConfig) or (
            isinstance(schedule, MaxiDiscConfig) and schedule.assistants == "sandwich"
        )
        num_sampled = getattr(schedule, "num_sampled", 0)
        is_race = getattr(schedule, "search", "paper") == "race"
        if is_race and num_sampled == 2 and len(scales) > 1:
            raise ValueError(
                f"{section}.num_sampled: 2 would leave the candidates between the largest and the student's slice "
                f"without training; use 1, or a value between 3 and {len(scales) + 1}"
            )
        # A race's default of three is allowed where one candidate and the student make two.
        if has_sandwich and num_sampled > max(len(scales) + 1, 3 if is_race else 0):
            raise ValueError(
                f"{section}.num_sampled: {num_sampled} is more than the sandwich's {len(scales) + 1} "
                f"scales (candidates and the student's own); use a value between 1 and {len(scales) + 1}"
            )
        if isinstance(schedule, MiniDiscConfig) and schedule.num_assistants > len(scales):
            raise ValueError(
                f"{section}.num_assistants: {schedule.num_assistants} is more than the {len(scales)} candidates; "
                "use fewer assistants, or more scales"
            )
        return self

    @model_validator(mode="after")
    def _task_and_data_agree(self) -> "RunConfig":
        if isinstance(self.task, BuiltinTaskConfig) != isinstance(self.data, BuiltinDataConfig):
            raise ValueError(
                f"data.kind: {self.data.kind} does not go with task.kind {self.task.kind}; the built-in task has the "
                "built-in data and no other"
            )
        needs_name = self.data.kind == "hub" and self.data.name is None and self.data.path == "nyu-mll/glue"
        if needs_name and not isinstance(self.task, GlueTaskConfig):
            raise ValueError("data.name: missing; nyu-mll/glue needs the name of a task, for instance mrpc")
        return self

    @model_validator(mode="after")
    def _batch_reaches_workers(self) -> "RunConfig":
        for stage in ("finetune", "sandwich", "distil"):
            training: TrainingConfig | None = getattr(self, stage)
            if training is not None and training.batch_size < self.compute.num_workers:
                raise ValueError(
                    f"{stage}.batch_size: {training.batch_size} is less than compute.num_workers "
                    f"({self.compute.num_workers}); every worker needs a row"
                )
        return self

    @model_validator(mode="after")
    def _probes_are_shorter(self) -> "RunConfig":
        is_probed = isinstance(self.schedule, MaxiDiscConfig) and self.schedule.early_end is not None
        if is_probed and self.distil.num_epochs < _MIN_EPOCHS_WITH_PROBES:
            raise ValueError(
                f"schedule.early_end: asha first tries every scale in a quarter of the epochs, but distil.num_epochs "
                f"is {self.distil.num_epochs}; use {_MIN_EPOCHS_WITH_PROBES} or more, or leave early_end out"
            )
        return self

    @model_validator(mode="after")
    def _student_has_a_slice(self) -> "RunConfig":
        schedule = self.full_schedule
        if not isinstance(schedule, MiniDiscConfig) or isinstance(self.student, PrunedStudentConfig):
            return self
        if schedule.student_share != MiniDiscConfig.model_fields["student_share"].default:
            section = "schedule" if schedule is self.schedule else "schedule.then"
            raise ValueError(
                f"{section}.student_share: {schedule.student_share:g} is for a student that starts from a slice, and "
                f"one of kind {self.student.kind} does not; leave it out, or use student.kind pruned"
            )
        return self

    @model_validator(mode="after")
    def _auto_has_its_own_rows(self) -> "RunConfig":
        if isinstance(self.schedule, AutoConfig) and self.protocol == "paper":
            raise ValueError(
                "protocol: paper has no selection rows of its own, and schedule.kind auto decides on them; use "
                "protocol held_out, or another schedule"
            )
        return self
