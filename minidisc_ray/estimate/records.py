"""What ``minidisc plan --estimate`` tells, as records."""

from minidisc_ray.configs.base import Config
from minidisc_ray.estimate.timings import Overheads


class PredictedStage(Config):
    """Seconds and device-hours of one stage; the teacher's are in no ratio."""

    trial: str
    stage: str
    seconds: float
    device_hours: float
    in_ratio: bool


class PredictedMethod(Config):
    """One schedule with the recipe's other keys.

    Attributes:
        device_hours: of its stages without the teacher's, as ``compare`` counts them.
        startup_device_hours: held outside of stages.
        duration_seconds: from the command to the result, in the present storage and on the present cluster: the
            teacher and importance are in it where the storage has none.
        price: of device-hours and start-up, without the teacher; None without a price.
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
    """Fine-tuning and scoring the teacher, once for a storage."""

    device_hours: float
    price: float | None
    is_there: bool


class Timed(Config):
    """One timed stage for a reader: steps, their mean seconds, and how far like steps lay apart.

    ``spread_low`` and ``spread_high`` are the 10th and 90th percentile of seconds a multiply-add, over their mean.
    """

    stage: str
    scale_percent: int
    num_steps: int
    step_seconds: float | None
    spread_low: float | None
    spread_high: float | None
    seconds: float


class Estimate(Config):
    """What ``minidisc plan --estimate`` tells.

    Attributes:
        devices: of one trial.
        timing_seconds: that timing took, Ray's start not counted.
        load_average: of the machine's last minute before timing began, where the system tells.
        stops_early: whether the recipe may end stages before their last epoch, which is not foreseen.
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
