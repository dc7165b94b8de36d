"""What decided whether a run used an assistant, as its record and its result keep it."""

from pydantic import Field

from minidisc_ray.configs.base import Config


class GapDecision(Config):
    """The gap between teacher and probe student on the selection rows, and the schedule that followed from it."""

    teacher_metric: float = Field(description="Of the metric that choices use.")
    student_metric: float = Field(description="The same of the conventional student's best epoch so far.")
    num_rows: int = Field(ge=1, description="Selection rows.")
    gap_points: float = Field(description="Teacher less student, times 100.")
    low_points: float = Field(description="Lower end of its 95% interval over rows, by a paired bootstrap.")
    high_points: float
    min_gap_points: float = Field(description="The gap above which an assistant is used.")
    student_has_learned: bool = Field(
        True, description="Whether the probe student scores more than its commonest answer, or its answers at random."
    )
    probe_epochs: int = Field(ge=1, description="Epochs of the conventional distillation by then.")
    num_epochs: int = Field(ge=1, description="Epochs that it has in full.")
    outcome: str = Field(description="Label of the schedule that followed.")

    @property
    def uses_assistant(self) -> bool:
        """Whether the schedule with an assistant followed."""
        return self.gap_points > self.min_gap_points

    @property
    def summary(self) -> str:
        """The decision in a few words, for listings."""
        return f"gap {self.gap_points:.1f} points: {self.outcome}"

    @property
    def sentence(self) -> str:
        """The decision in one line."""
        side = "above" if self.uses_assistant else "not above"
        failed = "" if self.student_has_learned else "; that student has learned nothing, so the gap says little"
        return (
            f"auto: teacher {100 * self.teacher_metric:.1f}, conventional student after {self.probe_epochs} of "
            f"{self.num_epochs} epochs {100 * self.student_metric:.1f} on {self.num_rows:,} selection rows; gap "
            f"{self.gap_points:.1f} points (95% interval {self.low_points:.1f} to {self.high_points:.1f}), {side} "
            f"{self.min_gap_points:g}: {self.outcome}{failed}"
        )
