"""What earlier distillations say: which components matter, and what to try on a task."""

from pathlib import Path

from minidisc_ray.autodistiller.importance.component_importance import (
    Importance,
    Target,
    TaskImportance,
    Weights,
    component_importance,
)
from minidisc_ray.autodistiller.tables.names import check_name
from minidisc_ray.autodistiller.tables.reading import read_table

__all__ = ["Importance", "TaskImportance", "importance"]


def importance(
    table: str | Path,
    target: Target = "ratio_to_teacher",
    weights: Weights = "uniform",
    student: str | None = None,
    teacher: str | None = None,
) -> Importance:
    """Explain the spread of each task's results by components, alone and in pairs (Distiller, figure 2).

    Args:
        table: a table of observations (.parquet, .csv), or the folder of Distiller's published files.
        target: the column whose variance is explained.
        weights: whether a component's choices count equally often, or as often as they were observed.
        student: only rows of this student.
        teacher: only rows of this teacher.

    Raises:
        UserError: if the table cannot be read, no row is left, or no task has enough of them.

    Example:
        >>> found = importance("earlier.parquet")
        >>> max(found.means, key=lambda key: found.means[key].value)
        ('intermediate loss',)
    """
    frame = read_table(Path(table))
    for column, name in (("student", student), ("teacher", teacher)):
        if name is not None:
            check_name(column, name, frame[column])
            frame = frame[frame[column] == name]
    return component_importance(frame, target, weights)
