"""The result of ``minidisc plan --estimate``."""

from minidisc_ray.configs.base import Config
from minidisc_ray.estimate.timings import Overheads


class PredictedStage(Config):
    """Seconds and device-hours of one stage; ``in_ratio`` is False for the teacher's."""

    trial: str
    stage: str
    seconds: float
    device_hours: float
    in_ratio: bool


class PredictedMethod(Config):
    """The predicted cost of one schedule, with the recipe's other keys.

    Attributes:
        device_hours: of all stages but the teacher's, as ``compare`` counts them.
        startup_device_hours: held outside of stages.
        duration_seconds: from the command to the result, on the present cluster; includes the teacher and importance
            if the storage lacks them.
        price: of the device-hours of stages and start-up, without the teacher; None if the recipe has no price.
        ratio_to_conventional: of device-hours.
    """

    method: str
    kind: str
    is_recipe: bool
    stages: tuple[PredictedStage, ...]
    device_hours: float
    startup_device_hours: float
    duration_seconds: float
    price: float | None
    ratio_to_conventional: float


class PredictedTeacher(Config):
    """The cost of fine-tuning and scoring the teacher, which a storage needs once."""

    device_hours: float
    price: float | None
    is_there: bool


class Timed(Config):
    """One timed stage, for display: the number of steps, their mean seconds and their spread.

    ``spread_low`` and ``spread_high`` are the 10th and 90th percentile of seconds per multiply-add, over their mean.
    """

    stage: str
    scale_percent: int
    num_steps: int
    step_seconds: float | None
    spread_low: float | None
    spread_high: float | None
    seconds: float


class Estimate(Config):
    """The whole estimate.

    Attributes:
        devices: of one trial.
        timing_seconds: duration of the timing, without Ray's start.
        load_average: of the machine in the minute before timing; None if the system has none.
        stops_early: whether training may stop early, which the estimate ignores.
        left_out: schedules that this recipe does not allow, and why.
    """

    task: str
    objective: str
    student_percent: int
    devices: float
    device_unit: str
    currency: str
    num_workers: int
    teacher: PredictedTeacher
    methods: tuple[PredictedMethod, ...]
    timed: tuple[Timed, ...]
    overheads: Overheads
    timing_seconds: float
    load_average: float | None
    stops_early: bool
    left_out: dict[str, str]
