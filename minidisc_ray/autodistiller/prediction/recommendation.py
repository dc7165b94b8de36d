"""What is recommended for a task, as data."""

from dataclasses import dataclass

from minidisc_ray.configs.run import RunConfig


@dataclass(frozen=True)
class Recommended:
    """One configuration, checked against the recipe's data and models.

    Attributes:
        config: the recipe with it.
        name: the name that its run will have.
        objective: in words.
        mean: predicted share of the teacher's score.
        low: lower end of its 90% interval.
        high: upper end.
        tflops: closed-form TFLOPs of a run, without the teacher's fine-tuning.
    """

    config: RunConfig
    name: str
    objective: str
    mean: float
    low: float
    high: float
    tflops: float


@dataclass(frozen=True)
class Recommendation:
    """The best configurations by prediction, best first.

    Attributes:
        task: of the recipe.
        is_known_task: whether the table has observations of it.
        items: as many as were asked for, fewer where there are fewer.
        num_candidates: that were ranked.
        num_observations: that the predictor was fitted on.
        num_tasks: their tasks.
        refused: candidates better than the last item that do not fit the recipe, with the reason.
        notes: on how the table was used.
    """

    task: str
    is_known_task: bool
    items: tuple[Recommended, ...]
    num_candidates: int
    num_observations: int
    num_tasks: int
    refused: dict[str, str]
    notes: tuple[str, ...]
