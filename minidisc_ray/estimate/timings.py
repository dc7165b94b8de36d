"""What was timed, as plain records: they go from a worker to the driver as JSON."""

from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config
from minidisc_ray.core.flops import Size, Sizes

StageKind = Literal["teacher", "importance", "sandwich", "choose", "assistant", "student"]


class TimedStage(Config):
    """One stage in miniature: the pipeline's own code, one epoch, on a sample of the training rows.

    Attributes:
        stage: its kind.
        scale_percent: of the model that it makes; 100 for the teacher, for importance and for a sandwich.
        seconds: of the whole stage.
        batches: of its steps, in order.
        step_seconds: of every step but the first, whose beginning is not seen.
        num_warm_up: how many of those are left out of averages.
        epoch_end_seconds: evaluation, checkpoints and the report to Ray.
        rows: the sample's rows in batches for evaluation, as the teacher's outputs are computed on them.
    """

    stage: StageKind
    scale_percent: int
    seconds: float
    batches: Sizes = ()
    step_seconds: tuple[float, ...] = ()
    num_warm_up: int = 0
    epoch_end_seconds: float = 0.0
    rows: Sizes = ()

    @property
    def counted(self) -> tuple[tuple[Size, float], ...]:
        """Batches with their seconds, those of the warm-up left out; none where no single step was timed."""
        if not self.step_seconds:
            return ()
        timed = tuple(zip(self.batches[1:], self.step_seconds, strict=True))
        return timed[self.num_warm_up :]


class TimedPass(Config):
    """A forward pass over a sample without gradients, by the teacher (100 percent) or the student."""

    scale_percent: int
    batches: Sizes
    seconds: float


class Timings(Config):
    """Everything that was timed in one process or in the workers of one trial.

    Attributes:
        selection: batches of the sample of the selection split.
        validation: of all validation sets.
        passes: over the selection sample, by the teacher and by the student.
        fill: computing the teacher's outputs for the objective; None if it wants none.
        load_seconds: reading the teacher from its folder.
        seconds: that timing took.
    """

    stages: tuple[TimedStage, ...]
    selection: Sizes
    validation: Sizes
    passes: tuple[TimedPass, ...]
    fill: TimedPass | None
    load_seconds: float
    seconds: float


class Overheads(Config):
    """What a run takes beyond its stages; all zero in a process of its own.

    Attributes:
        cluster_seconds: starting Ray or attaching to it, and leaving it.
        job_seconds: a Train job before its workers are held and after they are released.
        startup_seconds: held by a job outside its stages.
        sweep_seconds: until a sweep's first worker is up.
        trial_seconds: held by each trial of a sweep outside its stages, its worker being up: checking the recipe again.
        at_once: trials beside each other.
        slowdown: seconds of a stage while others run beside it, over its seconds alone.
    """

    cluster_seconds: float = Field(0.0, ge=0.0)
    job_seconds: float = Field(0.0, ge=0.0)
    startup_seconds: float = Field(0.0, ge=0.0)
    sweep_seconds: float = Field(0.0, ge=0.0)
    trial_seconds: float = Field(0.0, ge=0.0)
    at_once: int = Field(1, ge=1)
    slowdown: float = Field(1.0, gt=0.0)
