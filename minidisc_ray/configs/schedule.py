"""Schedules: how knowledge gets from the teacher to the student, directly or through assistants."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.grid import GridConfig, StepGridConfig, TimesGridConfig
from minidisc_ray.configs.selection import (
    PAPER_LAMBDA,
    LambdaSelectionConfig,
    NegativeDerivativeSelectionConfig,
    SelectionConfig,
    StudentSelectionConfig,
)

_PAPER_ETA, _RACE_ETA = 6, 3
_STUDENT_SHARE = 0.5
_MIN_GAP_POINTS, _PROBE_SHARE = 5.0, 0.5


class _ScheduleConfig(Config):
    # Like keys_added, but not for the schedule under conventional.match, which has had these keys from the start.
    keys_added_at_top: ClassVar[frozenset[str]] = frozenset()


class SparseTeacherConfig(_ScheduleConfig):
    """From the teacher, pruned without further training, to the student (after StarK's sparse teachers)."""

    kind: Literal["sparse_teacher"] = "sparse_teacher"
    teacher_percent: int = Field(90, ge=2, le=99)

    @property
    def label(self) -> str:
        """The name in tables."""
        return f"StarK ({self.teacher_percent}%)"


class AssistantConfig(_ScheduleConfig):
    """From the teacher to one assistant at a given scale, then to the student (TA)."""

    kind: Literal["assistant"] = "assistant"
    assistant_percent: int = Field(40, ge=2, le=99)

    @property
    def label(self) -> str:
        """The name in tables."""
        return f"TA ({self.assistant_percent}%)"


class LawConfig(_ScheduleConfig):
    """TA with the candidate whose encoder is nearest in parameters to a multiple of the student's."""

    kind: Literal["law"] = "law"
    times_student: float = Field(
        2.5, gt=1.0, le=100.0, description="The assistant's encoder parameters as a multiple of the student's."
    )
    scales: GridConfig = StepGridConfig()
    assistant_percent: int | None = Field(
        None, ge=2, le=99, description="The scale of that candidate: computed, not chosen."
    )

    @property
    def label(self) -> str:
        """The name in tables."""
        found = "" if self.assistant_percent is None else f", {self.assistant_percent}%"
        return f"TA ({self.times_student:g}\N{MULTIPLICATION SIGN} law{found})"


class MiniDiscConfig(_ScheduleConfig):
    """One trial: a sandwich of candidates, one choice, one distillation."""

    keys_added: ClassVar[frozenset[str]] = frozenset({"search", "in_place", "student_share"})
    keys_added_at_top: ClassVar[frozenset[str]] = frozenset({"num_assistants", "chain", "residual"})

    kind: Literal["minidisc"] = "minidisc"
    search: Literal["paper", "race"] = Field(
        "paper",
        description="paper: every candidate is trained to the end, then one is chosen; race: candidates that cannot "
        "win are dropped during training, one is chosen early, and the student's training starts from its slice.",
    )
    scales: GridConfig = StepGridConfig()
    num_sampled: int = Field(
        6,
        ge=1,
        description="Candidates trained at each step (eta), largest and smallest included; in a race 3 by default.",
    )
    sampling: Literal["fixed", "per_step"] = Field(
        "fixed", description="fixed: the same candidates at every step; per_step: drawn at each, as a race always does."
    )
    selection: SelectionConfig = LambdaSelectionConfig()
    num_assistants: int = Field(1, ge=1, le=5, description="Assistants in a chain from teacher to student.")
    chain: Literal["repeated", "joint"] = Field(
        "repeated",
        description="repeated: a sandwich and a choice for each assistant, which then teaches the next; joint: one "
        "sandwich, and all assistants are chosen from it.",
    )
    residual: bool = Field(False, description="Distil the student once more, from the teacher (appendix L).")
    in_place: bool = Field(
        False, description="In a race: the largest network of a step learns from the teacher, the others from it."
    )
    student_share: float = Field(
        _STUDENT_SHARE, gt=0.0, le=1.0, description="In a race: the share of distil.num_epochs that its student gets."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_race_defaults(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("search") == "race":
            return {"num_sampled": _RACE_ETA, "sampling": "per_step", **given}
        return given

    @model_validator(mode="after")
    def _race_options_fit(self) -> "MiniDiscConfig":
        if self.search != "race":
            for key, value, is_set in (
                ("in_place", "true", self.in_place),
                ("student_share", f"{self.student_share:g}", self.student_share != _STUDENT_SHARE),
            ):
                if is_set:
                    raise ValueError(f"{key} is {value}, but search is paper; use search race, or leave it out")
            return self
        if self.sampling == "fixed":
            raise ValueError("sampling is fixed, but search race draws at each step; use per_step, or leave it out")
        if self.selection.kind != "lambda":
            raise ValueError(f"selection is {self.selection.kind}, but search race chooses by lambda; leave it out")
        for key, value, is_set in (
            ("num_assistants", f"{self.num_assistants}", self.num_assistants > 1),
            ("residual", "true", self.residual),
            ("chain", self.chain, self.chain != "repeated"),
        ):
            if is_set:
                raise ValueError(
                    f"{key} is {value}, but search race makes one assistant and one student; leave it out, or use "
                    "search paper"
                )
        if self.in_place and self.num_sampled == 1:
            raise ValueError(
                "in_place is true, but with num_sampled 1 a step has no second network to teach; leave one of them out"
            )
        return self

    @property
    def label(self) -> str:
        """The name in tables, with what differs from the paper's setting in brackets."""
        is_race = self.search == "race"
        notes = ["race"] if is_race else []
        if self.in_place:
            notes.append("in place")
        if self.student_share != _STUDENT_SHARE:
            notes.append(f"student {self.student_share:g}")
        if self.num_assistants > 1:
            notes.append(f"{self.num_assistants} {'joint ' if self.chain == 'joint' else ''}assistants")
        if self.residual:
            notes.append("residual")
        if isinstance(self.selection, NegativeDerivativeSelectionConfig):
            notes.append(self.selection.note)
        elif self.selection.lam != PAPER_LAMBDA:
            notes.append(f"λ = {self.selection.lam:g}")
        if self.num_sampled != (_RACE_ETA if is_race else _PAPER_ETA):
            notes.append(f"η = {self.num_sampled}")
        return "MiniDisc" + (f" ({', '.join(notes)})" if notes else "")


class MaxiDiscConfig(_ScheduleConfig):
    """Every candidate scale in a trial of its own, each with a student; the best student is kept.

    ``assistants`` and ``selection`` give the ablations of MiniDisc's table 5: all assistants from one sandwich, and one
    assistant chosen by its trade-off.
    """

    keys_added: ClassVar[frozenset[str]] = frozenset(
        {"assistants", "selection", "num_sampled", "sampling", "early_end"}
    )

    kind: Literal["maxidisc"] = "maxidisc"
    scales: GridConfig = StepGridConfig()
    assistants: Literal["each", "sandwich"] = Field(
        "each", description="each: every assistant trained by itself; sandwich: all of them jointly."
    )
    selection: Annotated[
        StudentSelectionConfig | LambdaSelectionConfig | NegativeDerivativeSelectionConfig,
        Field(discriminator="kind"),
    ] = StudentSelectionConfig()
    num_sampled: int = Field(6, ge=1, description="With a sandwich: candidates trained at each step (eta).")
    sampling: Literal["fixed", "per_step"] = "fixed"
    early_end: Literal["asha"] | None = Field(
        None,
        description="asha: every scale is first tried in a quarter of the epochs, and the best quarter of them is then "
        "tried in full; null: every scale is tried in full.",
    )

    @model_validator(mode="after")
    def _is_not_minidisc(self) -> "MaxiDiscConfig":
        if self.assistants == "sandwich" and self.selection.kind != "student":
            raise ValueError(
                f"assistants sandwich with selection {self.selection.kind} is MiniDisc itself; use kind minidisc, or "
                "change one of the two"
            )
        if self.early_end is not None and (self.assistants, self.selection.kind) != ("each", "student"):
            raise ValueError(
                f"early_end is {self.early_end}, which compares the students of trials, but with assistants "
                f"{self.assistants} and selection {self.selection.kind} no trial has both an assistant and a student "
                "of its own; leave early_end out"
            )
        return self

    @property
    def label(self) -> str:
        """The name in tables."""
        if self.assistants == "sandwich":
            return "MaxiDisc with sandwich"
        match self.selection:
            case LambdaSelectionConfig():
                lam = self.selection.lam
                return "MaxiDisc with λ-tradeoff" + (f" (λ = {lam:g})" if lam != PAPER_LAMBDA else "")
            case NegativeDerivativeSelectionConfig():
                return "MaxiDisc with ND-tradeoff" + (
                    f" of order {order}" if (order := self.selection.order) > 1 else ""
                )
        return "MaxiDisc" if self.early_end is None else f"MaxiDisc ({self.early_end})"


class ConventionalConfig(_ScheduleConfig):
    """From the teacher to the student without an assistant; its cost is the 1x of cost ratios."""

    keys_added: ClassVar[frozenset[str]] = frozenset({"match", "num_epochs"})

    kind: Literal["conventional"] = "conventional"
    match: MiniDiscConfig | None = Field(
        None,
        description="Train for as many epochs as cost this MiniDisc's FLOPs in closed form, evaluation included.",
    )
    num_epochs: int | None = Field(None, ge=1, description="The epochs that match takes: computed, not chosen.")

    @model_validator(mode="after")
    def _match_is_spelled_out(self) -> "ConventionalConfig":
        missing = {"scales", "num_sampled"} - self.match.model_fields_set if self.match is not None else set()
        if missing:
            # Defaults could silently differ from the MiniDisc run whose cost is to be matched.
            raise ValueError(
                f"match.{min(missing)} is missing; write the scales and num_sampled of the MiniDisc run whose cost is "
                "to be matched"
            )
        return self

    @model_validator(mode="after")
    def _epochs_need_a_match(self) -> "ConventionalConfig":
        if self.num_epochs is not None and self.match is None:
            raise ValueError(
                f"num_epochs is {self.num_epochs}, but it is computed from match, which is missing; set "
                "distil.num_epochs to choose the epochs"
            )
        return self

    @property
    def label(self) -> str:
        """The name in tables."""
        return "Conventional" if self.match is None else "Conventional (compute-matched)"


class AutoConfig(_ScheduleConfig):
    """Conventional, unless a short conventional distillation stays so far below the teacher that an assistant pays."""

    kind: Literal["auto"] = "auto"
    min_gap_points: float = Field(
        _MIN_GAP_POINTS,
        ge=0.0,
        le=100.0,
        description="Teacher less probe student on the selection rows, in points: above it an assistant is used.",
    )
    probe_share: float = Field(
        _PROBE_SHARE, gt=0.0, le=1.0, description="The share of distil.num_epochs after which the gap is measured."
    )
    then: Annotated[AssistantConfig | LawConfig | MiniDiscConfig, Field(discriminator="kind")] = Field(
        MiniDiscConfig(search="race", scales=TimesGridConfig()), description="The schedule for a larger gap."
    )

    @property
    def label(self) -> str:
        """The name in tables, with what differs from the defaults in brackets."""
        notes = [self.then.label] if self.then != type(self).model_fields["then"].default else []
        if self.min_gap_points != _MIN_GAP_POINTS:
            notes.append(f"gap {self.min_gap_points:g}")
        if self.probe_share != _PROBE_SHARE:
            notes.append(f"probe {self.probe_share:g}")
        return "Auto" + (f" ({', '.join(notes)})" if notes else "")


ScheduleConfig = Annotated[
    ConventionalConfig
    | SparseTeacherConfig
    | AssistantConfig
    | LawConfig
    | MiniDiscConfig
    | MaxiDiscConfig
    | AutoConfig,
    Field(discriminator="kind"),
]
