"""A task by its name alone: models and training that are typical of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import pandas as pd

from minidisc_ray.autodistiller.prediction.candidates import rows_of
from minidisc_ray.autodistiller.tables.names import check_name, names_hint
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import DistillerConfig
from minidisc_ray.configs.task import GlueTask

_TRAINING: Final = ("scale_percent", "learning_rate", "batch_size", "num_epochs")


@dataclass(frozen=True)
class NamedTask:
    """What a table says of a task with a name.

    Attributes:
        task: its name.
        student: the name of its student.
        teacher: the name of its teacher.
        num_examples: training rows; None if the table does not know the task.
        num_labels: width of its output; None if it is not known.
        training: the most frequent values of the student's scale and of its training; those that are not known lack.
    """

    task: str
    student: str
    teacher: str
    num_examples: float | None
    num_labels: float | None
    training: dict[str, float]


def check_task(name: str, frame: pd.DataFrame) -> None:
    """Check that a name is that of a task: the table's, or one of GLUE.

    Raises:
        UserError: if it is neither.
    """
    known = {*frame["task"], *get_args(GlueTask)}
    if name not in known:
        raise UserError(
            f"{name[:60]}: neither a recipe file nor a task of the table or of GLUE; {names_hint(name, known)}; for a "
            "task of your own give a recipe, which `minidisc init --data FILE --model MODEL` writes"
        )


def named_task(
    name: str, whole: pd.DataFrame, frame: pd.DataFrame, student: str | None = None, teacher: str | None = None
) -> NamedTask:
    """Choose the models that most observations of the task have, or of the table where it lacks the task.

    Args:
        name: of the task.
        whole: the table, whose number of training rows is taken.
        frame: the observations to learn from.
        student: the name of another student.
        teacher: the name of another teacher.

    Raises:
        UserError: if the table has no row of the student or of the teacher.
    """
    pairs = frame
    for column, chosen in (("student", student), ("teacher", teacher)):
        if chosen is not None:
            check_name(column, chosen, frame[column])
            # A student and a teacher may never have met.
            with_it = pairs[pairs[column] == chosen]
            pairs = pairs if with_it.empty else with_it
    counts = pairs.assign(own=pairs["task"] == name).groupby(["student", "teacher"])["own"].agg(["sum", "size"])
    best = (
        counts.reset_index()
        .sort_values(["sum", "size", "student", "teacher"], ascending=[False, False, True, True], kind="stable")
        .iloc[0]
    )
    names = (student or str(best["student"]), teacher or str(best["teacher"]))
    rows = frame[(frame["student"] == names[0]) & (frame["teacher"] == names[1])]
    modes = {column: rows[column].mode() for column in _TRAINING}
    of_task = whole.loc[whole["task"] == name, ["num_examples", "num_labels"]].median()
    num_examples, num_labels = (None if pd.isna(number) else float(number) for number in of_task)
    return NamedTask(
        name,
        *names,
        num_examples=num_examples,
        num_labels=num_labels,
        training={column: float(found.iloc[0]) for column, found in modes.items() if len(found)},
    )


def named_rows(named: NamedTask, objectives: Sequence[DistillerConfig]) -> pd.DataFrame:
    """The candidates on such a task, as rows of a table whose outcomes are not known yet."""
    columns = ("task", "student", "teacher", "num_examples", "num_labels")
    return rows_of({**{column: getattr(named, column) for column in columns}, **named.training}, objectives)
