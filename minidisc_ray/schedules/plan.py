"""A schedule as data: the steps of one or more trials, to be executed by something else.

A step that starts from a model names it: the teacher, or an earlier step of the same trial that left one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from minidisc_ray.configs.schedule import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.core.grid import sample_evenly

TEACHER = "teacher"
STUDENT = "student"
FIRST_STUDENT = "first_student"
MAIN_TRIAL = "main"
SHARED_TRIAL = "shared"


@dataclass(frozen=True)
class TeacherStep:
    """Fine-tune the teacher, or take it as it is; shared by every run that needs the same one."""

    name: str = "teacher"


@dataclass(frozen=True)
class ImportanceStep:
    """Importance of heads and neurons; shared between runs too."""

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
        num_sampled: candidates trained at each step, all of them where there are fewer.
        sampling: whether the same subset is trained throughout or each step draws its own.
        rule: the trade-off whose best value picks the kept state.
        source: the model that teaches; a chosen assistant leaves only the candidates below it.
        num_chosen: how many assistants will be chosen out of it together.
        num_below: how many more a later sandwich will choose below those.
    """

    candidates: tuple[int, ...]
    student_percent: int
    num_sampled: int
    sampling: Literal["fixed", "per_step"]
    rule: SelectionConfig
    source: str = TEACHER
    num_chosen: int = 1
    num_below: int = 0
    name: str = "sandwich"

    @property
    def scales(self) -> tuple[int, ...]:
        """Every scale that lives in the shared weights, largest first."""
        return (*self.candidates, self.student_percent)

    @property
    def num_trained(self) -> int:
        """Candidates that a step really trains."""
        return min(self.num_sampled, len(self.scales))

    @property
    def trained(self) -> tuple[int, ...] | None:
        """The fixed subset, or None if each step draws its own."""
        return sample_evenly(self.scales, self.num_trained) if self.sampling == "fixed" else None

    def below(self, scale_percent: int) -> "SandwichStep":
        """The same step with the candidates under a scale alone."""
        return replace(self, candidates=tuple(scale for scale in self.candidates if scale < scale_percent))


@dataclass(frozen=True)
class RaceStep(SandwichStep):
    """A sandwich that loses candidates as it is trained, and from its choice on holds {assistant, student's slice}.

    Attributes:
        in_place: whether a step's largest network teaches the others in the teacher's stead.
    """

    in_place: bool = False

    @property
    def lam(self) -> float:
        """Of the trade-off that it chooses by."""
        assert isinstance(self.rule, LambdaSelectionConfig)
        return self.rule.lam

    def as_sandwich(self) -> SandwichStep:
        """The same scales trained without a race."""
        return SandwichStep(**{found.name: getattr(self, found.name) for found in fields(SandwichStep)})


@dataclass(frozen=True)
class CandidateStep:
    """Take one candidate out of the run's sandwich, as a model of its own; needs no training."""

    scale_percent: int
    name: str = "assistant"


@dataclass(frozen=True)
class ChooseStep:
    """Choose one assistant, or a chain of several, among candidates; needs no training.

    Attributes:
        rule: the trade-off.
        sandwich: the step whose candidates these are; None for those that the run's trials trained one by one.
        num_chosen: of the chain.
        num_below: assistants that are to be chosen later, for which as many smaller candidates must be left.
    """

    rule: SelectionConfig
    sandwich: str | None = "sandwich"
    num_chosen: int = 1
    num_below: int = 0
    name: str = "choose"


@dataclass(frozen=True)
class Place:
    """A scale that is known once a choice has been made: that of the chain's place-th model, counted from 0."""

    choose: str
    place: int


@dataclass(frozen=True)
class DistilStep:
    """Distil to a scale; the smaller model is cut from the model it is distilled from.

    Steps named after students make what the recipe's ``student`` describes, every other one a pruned model.

    Attributes:
        source: the model that teaches.
        scale: of the model to be made.
        continues: the step whose model is trained further, in place of one cut from the source.
        slice_of: the race whose slice of the student's scale is trained further, for half the epochs, and kept where
            that makes it no better.
        epoch_share: of the recipe's epochs.
    """

    source: str
    scale: int | Place
    name: str
    continues: str | None = None
    slice_of: str | None = None
    epoch_share: float = 1.0

    @property
    def makes_student(self) -> bool:
        """Whether the recipe's ``student`` says what comes out."""
        return self.name in (STUDENT, FIRST_STUDENT)


OwnStep = PruneStep | SandwichStep | CandidateStep | ChooseStep | DistilStep
Step = TeacherStep | ImportanceStep | OwnStep


@dataclass(frozen=True)
class Trial:
    """One full way from teacher to student, or what several of them share."""

    name: str
    steps: tuple[OwnStep, ...]
    assistant_percent: int | None = None

    def step(self, name: str) -> OwnStep:
        """The step of a name."""
        return next(step for step in self.steps if step.name == name)


@dataclass(frozen=True)
class Plan:
    """Steps that all trials share, then the trials.

    Attributes:
        trials: of several the best student is kept.
        probes: short forms of the trials, in their order; only those trials run whose probes did best.
        shared: what other runs use as well.
        before: what this run's trials share.
        after: what goes on from all trials, once they are over, and ends with the student.
    """

    trials: tuple[Trial, ...]
    shared: tuple[Step, ...] = field(default_factory=lambda: (TeacherStep(), ImportanceStep()))
    before: tuple[OwnStep, ...] = ()
    after: Trial | None = None
    probes: tuple[Trial, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether the schedule tries several ways."""
        return any(trial.name != MAIN_TRIAL for trial in self.trials)

    @property
    def ends(self) -> tuple[Trial, ...]:
        """The trials that end with a student."""
        return self.trials if self.after is None else (self.after,)

    @property
    def student_percent(self) -> int:
        """The scale of the student that every trial ends with."""
        last = self.ends[0].steps[-1]
        assert isinstance(last, DistilStep)
        assert isinstance(last.scale, int)
        return last.scale

    def all_trials(self) -> Iterator[Trial]:
        """Everything that is this run's own, in the order of execution."""
        if self.before:
            yield Trial(SHARED_TRIAL, self.before)
        yield from self.probes
        yield from self.trials
        if self.after is not None:
            yield self.after

    def own_steps(self) -> Iterator[tuple[Trial, OwnStep]]:
        """Every step that is this run's own, with the trial that it belongs to."""
        for trial in self.all_trials():
            yield from ((trial, step) for step in trial.steps)

    def every_step(self) -> Iterator[tuple[Trial, Step]]:
        """Every step that this run needs: the ones that other runs use as well, then its own."""
        shared = Trial(SHARED_TRIAL, ())
        yield from ((shared, step) for step in self.shared)
        yield from self.own_steps()

    def trial(self, name: str) -> Trial | None:
        """The trial of a name, or None where nothing of this run's own goes by it."""
        return next((trial for trial in self.all_trials() if trial.name == name), None)


def through_assistant(name: str, assistant_percent: int, student_percent: int, epoch_share: float = 1.0) -> Trial:
    """The trial T -> A -> S, in a share of the recipe's epochs."""
    assistant = replace(to_assistant(assistant_percent), epoch_share=epoch_share)
    student = DistilStep(assistant.name, student_percent, STUDENT, epoch_share=epoch_share)
    return Trial(name, (assistant, student), assistant_percent)


def to_assistant(assistant_percent: int) -> DistilStep:
    """The step T -> A."""
    return DistilStep(TEACHER, assistant_percent, "assistant")
