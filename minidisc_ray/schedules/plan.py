"""A schedule as data: the steps of one or more trials; ``pipeline/`` executes them.

A step's ``source`` is the name of the model it starts from: the teacher, or an earlier step of the same trial.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from minidisc_ray.configs.selection import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.core.grid import sample_evenly

TEACHER = "teacher"
STUDENT = "student"
FIRST_STUDENT = "first_student"
PROBE = "probe"
MAIN_TRIAL = "main"
SHARED_TRIAL = "shared"


@dataclass(frozen=True)
class TeacherStep:
    """Fine-tune the teacher, or use it as it is; shared by all runs with the same teacher."""

    name: str = "teacher"


@dataclass(frozen=True)
class ImportanceStep:
    """Measure the importance of heads and neurons; shared by runs like the teacher."""

    name: str = "importance"


@dataclass(frozen=True)
class PruneStep:
    """Prune the teacher to a scale, without training it."""

    scale_percent: int
    name: str = "sparse_teacher"


@dataclass(frozen=True)
class SandwichStep:
    """Train nested candidates jointly in one set of weights.

    Attributes:
        candidates: assistant candidates, largest first.
        student_percent: the scale of the smallest slice, which is trained with them: pruned to the student's scale,
            even if the student itself is made of fewer layers.
        num_sampled: scales trained at each optimiser step, or all if there are fewer.
        sampling: whether all steps train the same subset, or each one draws its own.
        rule: the selection rule, which also decides which epoch is kept.
        source: the model that teaches; if it is a chosen assistant, only the candidates below it are trained.
        num_chosen: how many assistants are chosen from this sandwich together.
        num_below: how many more assistants later sandwiches choose, below those.
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
        """Every scale in the shared weights, the student's slice included, largest first."""
        return (*self.candidates, self.student_percent)

    @property
    def num_trained(self) -> int:
        """The number of scales that one optimiser step trains."""
        return min(self.num_sampled, len(self.scales))

    @property
    def trained(self) -> tuple[int, ...] | None:
        """The fixed subset of scales to train, or None if each step draws its own."""
        return sample_evenly(self.scales, self.num_trained) if self.sampling == "fixed" else None

    def below(self, scale_percent: int) -> "SandwichStep":
        """The same step with only the candidates below a scale."""
        return replace(self, candidates=tuple(scale for scale in self.candidates if scale < scale_percent))


@dataclass(frozen=True)
class RaceStep(SandwichStep):
    """A sandwich that drops candidates during training; once one is chosen, only it and the student's slice remain.

    Attributes:
        in_place: whether each step's largest network teaches the others instead of the teacher.
    """

    in_place: bool = False

    @property
    def lam(self) -> float:
        """The lambda of the trade-off that the race chooses by."""
        assert isinstance(self.rule, LambdaSelectionConfig)
        return self.rule.lam

    def as_sandwich(self) -> SandwichStep:
        """The same scales trained without a race."""
        return SandwichStep(**{found.name: getattr(self, found.name) for found in fields(SandwichStep)})


@dataclass(frozen=True)
class CandidateStep:
    """Extract one candidate from the run's sandwich as a model of its own; nothing is trained."""

    scale_percent: int
    name: str = "assistant"


@dataclass(frozen=True)
class ChooseStep:
    """Choose one assistant, or a chain of several, among candidates; nothing is trained.

    Attributes:
        rule: the selection rule.
        sandwich: the step that trained the candidates; None if the run's trials trained one each.
        num_chosen: the length of the chain.
        num_below: how many assistants later steps choose; as many candidates must remain below the chain.
    """

    rule: SelectionConfig
    sandwich: str | None = "sandwich"
    num_chosen: int = 1
    num_below: int = 0
    name: str = "choose"


@dataclass(frozen=True)
class ChosenScale:
    """The scale that a choice will give: that of model ``index``, from 0, in the chain of the step ``choice``."""

    choice: str
    index: int


@dataclass(frozen=True)
class DistilStep:
    """Distil to a scale; the smaller model is cut from the model it is distilled from.

    Steps named ``student``, ``first_student`` or ``probe`` make the recipe's ``student``, all others a pruned model.

    Attributes:
        source: the model that teaches.
        scale: the scale of the model to make, in percent.
        continues: a step whose model is trained further instead of one cut from the source.
        slice_of: a race whose slice at the student's scale is trained further; the slice itself is kept if that does
            not improve it.
        epoch_share: the share of the recipe's epochs to train for.
        stop_share: the share of these epochs after which the step stops, as if it went on: its learning rate is that of
            a whole distillation.
        resumes: a step that stopped, from whose last epoch this one goes on.
    """

    source: str
    scale: int | ChosenScale
    name: str
    continues: str | None = None
    slice_of: str | None = None
    epoch_share: float = 1.0
    stop_share: float = 1.0
    resumes: "DistilStep | None" = None

    @property
    def makes_student(self) -> bool:
        """Whether the step makes the recipe's ``student``."""
        return self.name in (STUDENT, FIRST_STUDENT, PROBE)


@dataclass(frozen=True)
class DecideStep:
    """Measure how far a probe's student is below the teacher, and decide what follows; nothing is trained.

    Attributes:
        min_gap_points: the gap, in points, above which the trial's further steps follow, which use an assistant.
        otherwise: the steps that follow instead.
        probe: the step that trained the student.
    """

    min_gap_points: float
    otherwise: tuple[DistilStep, ...]
    probe: str = PROBE
    name: str = "decide"


OwnStep = PruneStep | SandwichStep | CandidateStep | ChooseStep | DistilStep | DecideStep
Step = TeacherStep | ImportanceStep | OwnStep


@dataclass(frozen=True)
class Trial:
    """A sequence of steps from teacher to student, or the steps that several trials share."""

    name: str
    steps: tuple[OwnStep, ...]
    assistant_percent: int | None = None

    def step(self, name: str) -> OwnStep:
        """The step with a name."""
        return next(step for step in self.steps if step.name == name)

    def without_assistant(self) -> "Trial":
        """The trial as it goes on where its decision is that no assistant is worth its cost."""
        place = next(place for place, step in enumerate(self.steps) if isinstance(step, DecideStep))
        decision = self.steps[place]
        assert isinstance(decision, DecideStep)
        return replace(self, steps=(*self.steps[: place + 1], *decision.otherwise))


@dataclass(frozen=True)
class Plan:
    """Steps that all trials share, then the trials.

    Attributes:
        trials: the run's trials; the best student of all is kept.
        probes: a short form of each trial, in the same order; only the trials of the best probes run. Empty without
            early ending.
        shared: steps whose results other runs use too.
        before: steps that this run's trials share.
        after: a trial that runs once all others are over, starts from their models and makes the student.
    """

    trials: tuple[Trial, ...]
    shared: tuple[Step, ...] = field(default_factory=lambda: (TeacherStep(), ImportanceStep()))
    before: tuple[OwnStep, ...] = ()
    after: Trial | None = None
    probes: tuple[Trial, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether the schedule has trials for several scales."""
        return any(trial.name != MAIN_TRIAL for trial in self.trials)

    @property
    def ends(self) -> tuple[Trial, ...]:
        """The trials whose last step makes the student."""
        return self.trials if self.after is None else (self.after,)

    @property
    def student_percent(self) -> int:
        """The scale of the student that every trial ends with."""
        last = self.ends[0].steps[-1]
        assert isinstance(last, DistilStep)
        assert isinstance(last.scale, int)
        return last.scale

    def all_trials(self) -> Iterator[Trial]:
        """Every trial of this run in the order of execution; the steps in ``before`` form one."""
        if self.before:
            yield Trial(SHARED_TRIAL, self.before)
        yield from self.probes
        yield from self.trials
        if self.after is not None:
            yield self.after

    def own_steps(self) -> Iterator[tuple[Trial, OwnStep]]:
        """Every step that this run does not share with others, with its trial."""
        for trial in self.all_trials():
            yield from ((trial, step) for step in trial.steps)

    def every_step(self) -> Iterator[tuple[Trial, Step]]:
        """Every step that this run needs, with its trial: first those shared with other runs."""
        shared = Trial(SHARED_TRIAL, ())
        yield from ((shared, step) for step in self.shared)
        yield from self.own_steps()

    def trial(self, name: str) -> Trial | None:
        """The trial with a name, or None if there is none."""
        return next((trial for trial in self.all_trials() if trial.name == name), None)


def through_assistant(name: str, assistant_percent: int, student_percent: int, epoch_share: float = 1.0) -> Trial:
    """The trial T -> A -> S, each step for a share of the recipe's epochs."""
    assistant = replace(to_assistant(assistant_percent), epoch_share=epoch_share)
    student = DistilStep(assistant.name, student_percent, STUDENT, epoch_share=epoch_share)
    return Trial(name, (assistant, student), assistant_percent)


def to_assistant(assistant_percent: int) -> DistilStep:
    """The step T -> A."""
    return DistilStep(TEACHER, assistant_percent, "assistant")
