"""Tasks: the columns of text and label, and the metrics."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.task_name import TaskName
from minidisc_ray.core.labels import as_number

CLASSIFICATION_METRICS = ("accuracy", "f1", "matthews")
REGRESSION_METRICS = ("spearman", "pearson")
GlueTask = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


def _list_from_name(value: Any) -> Any:
    """Read one name, such as ``text: review`` or ``selection_metric: f1``, as a list of it."""
    return (value,) if isinstance(value, str) else value


TextColumns = Annotated[tuple[str, ...], BeforeValidator(_list_from_name), Field(min_length=1, max_length=2)]
_NAME_HELP = "What run names and tables call the task; by default the name of the data's folder or file."


class _TaskConfig(Config):
    selection_metric: Annotated[tuple[str, ...] | None, BeforeValidator(_list_from_name)] = Field(
        None,
        description="The metric of early stopping and choices on the selection split, or several, of which the mean is "
        "used; by default the task's primary metric.",
    )

    @property
    def _is_regression(self) -> bool:
        return False

    @model_validator(mode="after")
    def _task_has_selection_metrics(self) -> Self:
        names = self.selection_metric
        allowed = REGRESSION_METRICS if self._is_regression else CLASSIFICATION_METRICS
        if names is not None and (not names or len(set(names)) != len(names) or not set(names) <= set(allowed)):
            raise ValueError(
                f"selection_metric is {list(names)}; give one or several of {', '.join(allowed)}, each once"
            )
        return self


class GlueTaskConfig(_TaskConfig):
    """A GLUE task, with its own columns, label names, metrics and validation sets."""

    kind: Literal["glue"] = "glue"
    name: GlueTask

    @property
    def _is_regression(self) -> bool:
        return self.name == "stsb"


def _names_from_numbers(value: Any) -> Any:
    """Read ``label_names: [1, 2, 3]`` as text, so that numbers need no quotation marks."""
    if not isinstance(value, list | tuple):
        return value
    return [str(one) if isinstance(one, int | float) and not isinstance(one, bool) else one for one in value]


def _name_or_number(name: str) -> object:
    # 1 and 1.0 are the same label; A and a are not.
    found = as_number(name)
    return name if found is None else found


class ClassificationTaskConfig(_TaskConfig):
    """A user's own classification of one text or a pair."""

    kind: Literal["classification"] = "classification"
    name: TaskName | None = Field(None, description=_NAME_HELP)
    text: TextColumns = Field(("text",), description="The column of the text, or the two columns of a pair.")
    label: str = "label"
    label_names: Annotated[tuple[str, ...] | None, BeforeValidator(_names_from_numbers)] = Field(
        None, description="Names of the labels, in the order of the model's outputs."
    )
    metric: Literal["accuracy", "f1", "matthews"] = "accuracy"

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "ClassificationTaskConfig":
        names = self.label_names
        if names is not None and (len(names) < 2 or len(set(map(_name_or_number, names))) != len(names)):
            raise ValueError(f"label_names is {list(names)}; give at least two distinct names")
        return self


class RegressionTaskConfig(_TaskConfig):
    """A user's own regression: one text or a pair, and a number."""

    kind: Literal["regression"] = "regression"
    name: TaskName | None = Field(None, description=_NAME_HELP)
    text: TextColumns = Field(("text",), description="The column of the text, or the two columns of a pair.")
    label: str = "label"
    metric: Literal["spearman", "pearson"] = "spearman"

    @property
    def _is_regression(self) -> bool:
        return True


class BuiltinTaskConfig(_TaskConfig):
    """The task that the package generates: whether a short review is good or bad."""

    kind: Literal["builtin"] = "builtin"


TaskConfig = Annotated[
    GlueTaskConfig | ClassificationTaskConfig | RegressionTaskConfig | BuiltinTaskConfig, Field(discriminator="kind")
]
