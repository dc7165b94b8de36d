"""A schedule as data: the steps of one or more trials, to be executed by something else."""

from dataclasses import dataclass, field
from typing import Literal

from minidisc_ray.configs.schedule import SelectionConfig

TEACHER: Literal["teacher"] = "teacher"
CHOSEN: Literal["chosen"] = "chosen"
Source = Literal["teacher", "chosen"] | int
STUDENT = "student"


@dataclass(frozen=True)
class TeacherStep:
    """Fine-tune the teacher, or take it as it is; shared by every run that needs the same one."""

    name: str = "teacher"


@dataclass(frozen=True)
class ImportanceStep:
    """Importance of heads and neurons; shared likewise."""

    name: str = "importance"


@dataclass(frozen=True)
class PruneStep:
    """Prune the teacher to a scale, without training it any further."""

    scale_percent: int
    name: str = "sparse_teacher"


@dataclass(frozen=True)
class SandwichStep:
    """Train nested candidates jointly in one set of weights.

    Attributes:
        candidates: assistant candidates, largest first.
        student_percent: the lower end, trained along: a slice pruned to the student's scale, also where the student
            itself is to have fewer layers.
        trained: the fixed subset, or None if each step draws its own.
        num_sampled: candidates trained at each step.
        rule: the trade-off whose best value picks the kept state.
    """

    candidates: tuple[int, ...]
    student_percent: int
    trained: tuple[int, ...] | None
    num_sampled: int
    rule: SelectionConfig
    name: str = "sandwich"

    @property
    def scales(self) -> tuple[int, ...]:
        """Every scale that lives in the shared weights, largest first."""
        return (*self.candidates, self.student_percent)


@dataclass(frozen=True)
class ChooseStep:
    """Choose the assistant among the candidates; needs no training."""

    rule: SelectionConfig
    name: str = "choose"


@dataclass(frozen=True)
class DistilStep:
    """Distil to a scale; the smaller model is cut from the model it is distilled from.

    The step named after the student makes what the recipe's ``student`` describes, every other one a pruned model.

    Attributes:
        source: the teacher, the chosen candidate, or the model at a scale that a step before this one made.
        scale_percent: of the model to be made.
    """

    source: Source
    scale_percent: int
    name: str

    @property
    def makes_student(self) -> bool:
        """Whether this is the step that ends its trial."""
        return self.name == STUDENT


Step = TeacherStep | ImportanceStep | PruneStep | SandwichStep | ChooseStep | DistilStep


@dataclass(frozen=True)
class Trial:
    """One full way from teacher to student."""

    name: str
    steps: tuple[Step, ...]
    assistant_percent: int | None = None


@dataclass(frozen=True)
class Plan:
    """Steps that all trials share, then the trials; the best student of several is kept."""

    trials: tuple[Trial, ...]
    shared: tuple[Step, ...] = field(default_factory=lambda: (TeacherStep(), ImportanceStep()))

    @property
    def is_sweep(self) -> bool:
        """Whether the schedule tries several ways and keeps the best."""
        return any(trial.name != MAIN_TRIAL for trial in self.trials)


MAIN_TRIAL = "main"
