"""What is recommended for a task, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from minidisc_ray.configs.run import RunConfig

# Closer predictions differ by rounding alone.
_ROUNDING: Final = 9


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """One configuration, checked against the recipe's data and models where there is a recipe.

    Attributes:
        place: 1 for the best; predictions that are equal as printed share one.
        objective: in words.
        mean: predicted share of the teacher's score.
        low: lower end of its 90% interval.
        high: upper end.
        config: the recipe with the objective; None without a recipe.
        name: the name that its run will have; None without a recipe.
        tflops: closed-form TFLOPs of a run, without the teacher's fine-tuning; None without a recipe.

    Example:
        >>> best = recommend("rte", ["earlier.parquet"]).items[0]
        >>> best.place, best.objective, best.low < best.mean < best.high
        (1, 'Distiller (cosine, last, mse)', True)
    """

    place: int
    objective: str
    mean: float
    low: float
    high: float
    config: RunConfig | None = None
    name: str | None = None
    tflops: float | None = None


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The best configurations by prediction, best first; among equal ones in the order of their names.

    Attributes:
        task: its name.
        student: the name of the student that results are predicted for.
        teacher: the name of its teacher.
        is_by_name: whether only the task's name was given, and no recipe.
        num_examples: training rows; None if unknown.
        is_known_task: whether the predictor learned from observations of it.
        items: as many as were asked for, fewer where there are fewer.
        num_tied: candidates after the last item with the same prediction as printed.
        num_candidates: that were ranked.
        num_observations: that the predictor was fitted on.
        num_tasks: their tasks.
        without: tasks whose observations were left out, with their number.
        refused: candidates better than the last item that do not fit the recipe, with the reason.
        notes: on how the table was used.

    Example:
        >>> found = recommend("rte", ["earlier.parquet"], count=2)
        >>> found.student, found.teacher, found.num_candidates, len(found.items)
        ('small', 'large', 12, 2)
    """

    task: str
    student: str
    teacher: str
    is_by_name: bool
    num_examples: float | None
    is_known_task: bool
    items: tuple[Recommended, ...]
    num_tied: int
    num_candidates: int
    num_observations: int
    num_tasks: int
    without: dict[str, int]
    refused: dict[str, str]
    notes: tuple[str, ...]


def percent_text(share: float) -> str:
    """A share in percent as tables print it, by which predictions are tied."""
    return f"{100 * share:.1f}"


def order_of(means: Sequence[float], names: Sequence[str]) -> list[int]:
    """Indices from the largest mean to the smallest; among those that differ by rounding alone by name."""
    return sorted(range(len(means)), key=lambda place: (-round(means[place], _ROUNDING), names[place]))


def are_tied(first: float, second: float) -> bool:
    """Whether two predictions are equal as printed, or differ by rounding alone."""
    return percent_text(first) == percent_text(second) or abs(first - second) < 10.0**-_ROUNDING


def places_of(means: Sequence[float]) -> list[int]:
    """The place of each of some means, given in descending order; tied ones share the place of the first."""
    places: list[int] = []
    for index, mean in enumerate(means):
        places.append(places[-1] if index and are_tied(means[index - 1], mean) else index + 1)
    return places
