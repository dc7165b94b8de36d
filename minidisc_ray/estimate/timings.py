"""Records of timed stages, which a worker sends to the driver as JSON."""

from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config
from minidisc_ray.core.flops import Size, Sizes

# Cost of a training step in forward passes: three for forward and backward, one for the optimiser and dropout.
PASSES_OF_STEP = 4
StageKind = Literal["teacher", "importance", "sandwich", "choose", "assistant", "student"]


class TimedStage(Config):
    """One stage, timed over one epoch on a sample of the training rows.

    Attributes:
        stage: its kind.
        scale_percent: of the resulting model; 100 for the teacher, importance and a sandwich.
        seconds: of the whole stage.
        batches: sizes of the batches of its steps, in order.
        step_seconds: of every step but the first, whose start is unknown.
        num_warm_up: the first of those steps, which averages leave out.
        epoch_end_seconds: of evaluation, checkpoints and the report to Ray.
        rows: sizes of the batches in which the teacher's outputs on the sample are computed.
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
        """Batches with their seconds, without the warm-up; empty if no step was timed."""
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
    """All timings of one process, or of the workers of one trial.

    Attributes:
        selection: sizes of the batches of the selection sample.
        validation: sizes of the batches of all validation samples.
        passes: over the selection sample, by the teacher and by the student.
        fill: computing the teacher's outputs for the objective; None if it needs none.
        load_seconds: of reading the teacher from its folder.
        seconds: of the whole timing.
    """

    stages: tuple[TimedStage, ...]
    selection: Sizes
    validation: Sizes
    passes: tuple[TimedPass, ...]
    fill: TimedPass | None
    load_seconds: float
    seconds: float


class Overheads(Config):
    """The time of a run outside its stages; all 0 for a run in one process.

    Attributes:
        cluster_seconds: to start Ray or connect to it, and to leave it.
        job_seconds: of a Train job before its workers are held and after they are released.
        startup_seconds: for which a job holds workers outside its stages.
        sweep_seconds: until the first worker of a sweep has started.
        trial_seconds: for which a trial of a sweep holds its started worker outside its stages.
        at_once: trials that run at the same time.
        slowdown: seconds of a stage while other trials run, over its seconds alone.
    """

    cluster_seconds: float = Field(0.0, ge=0.0)
    job_seconds: float = Field(0.0, ge=0.0)
    startup_seconds: float = Field(0.0, ge=0.0)
    sweep_seconds: float = Field(0.0, ge=0.0)
    trial_seconds: float = Field(0.0, ge=0.0)
    at_once: int = Field(1, ge=1)
    slowdown: float = Field(1.0, gt=0.0)
