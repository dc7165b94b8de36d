"""Tasks: the columns of text and label, and the metrics."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.messages import quoted
from minidisc_ray.configs.task_name import TaskName
from minidisc_ray.core.labels import as_number
from minidisc_ray.core.task import ERROR_METRICS, Output

ClassMetric = Literal["accuracy", "f1", "macro_f1", "weighted_f1", "micro_f1", "matthews", "balanced_accuracy"]
LabelsMetric = Literal["micro_f1", "macro_f1", "weighted_f1", "accuracy"]
ValueMetric = Literal["spearman", "pearson"]
# Larger is better, and none is above 1.
_CHOOSING_METRICS: dict[Output, tuple[str, ...]] = {
    "class": get_args(ClassMetric),
    "labels": get_args(LabelsMetric),
    "value": get_args(ValueMetric),
}
_ERRORS: dict[Output, frozenset[str]] = {"class": frozenset(), "labels": frozenset(), "value": ERROR_METRICS}
_ERRORS_NEVER_CHOOSE = (
    "an error has no upper bound, so it cannot choose; use pearson or spearman, and report the error beside it with "
    "extra_metrics"
)
GlueTask = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


def _list_from_name(value: Any) -> Any:
    """Read one name, such as ``text: review`` or ``selection_metric: f1``, as a list of it."""
    return (value,) if isinstance(value, str) else value


TextColumns = Annotated[tuple[str, ...], BeforeValidator(_list_from_name), Field(min_length=1, max_length=2)]
_NAME_HELP = "What run names and tables call the task; by default the name of the data's folder or file."


class _TaskConfig(Config):
    keys_added: ClassVar[frozenset[str]] = frozenset({"extra_metrics"})

    selection_metric: Annotated[tuple[str, ...] | None, BeforeValidator(_list_from_name)] = Field(
        None,
        description="The metric of early stopping and choices on the selection split, or several, of which the mean is "
        "used; by default the task's primary metric.",
    )
    extra_metrics: Annotated[tuple[str, ...], BeforeValidator(_list_from_name)] = Field(
        (),
        description="More metrics that results and `evaluate` report. No choice uses them, so these may be errors, "
        "mean_squared_error and mean_absolute_error.",
    )
    description: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="What the task is, in a sentence or two: dataset features embed it, by default the names of the "
        "task and of its labels. No number of a run depends on it.",
    )

    @field_validator("description")
    @classmethod
    def _has_a_word(cls, description: str | None) -> str | None:
        if description is not None and re.search(r"\w", description) is None:
            raise ValueError(f"{quoted(description)} has no word; write what the task is, or leave it out")
        return description

    @property
    def _output(self) -> Output:
        return "class"

    @model_validator(mode="after")
    def _task_has_metrics(self) -> Self:
        allowed, reported = _CHOOSING_METRICS[self._output], tuple(sorted(_ERRORS[self._output]))
        if errors := [name for name in self.selection_metric or () if name in reported]:
            raise ValueError(f"selection_metric is {errors[0]}; {_ERRORS_NEVER_CHOOSE}")
        _check_names("selection_metric", self.selection_metric, allowed)
        _check_names("extra_metrics", self.extra_metrics or None, (*allowed, *reported))
        return self


def _check_names(key: str, names: tuple[str, ...] | None, allowed: tuple[str, ...]) -> None:
    if names is not None and (not names or len(set(names)) != len(names) or not set(names) <= set(allowed)):
        raise ValueError(f"{key} is {quoted(list(names))}; give one or several of {', '.join(allowed)}, each once")


class GlueTaskConfig(_TaskConfig):
    """A GLUE task, with its own columns, label names, metrics and validation sets."""

    kind: Literal["glue"] = "glue"
    name: GlueTask

    @property
    def _output(self) -> Output:
        return "value" if self.name == "stsb" else "class"


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
    metric: ClassMetric = Field("accuracy", description="f1 is of two classes alone.")

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        _check_label_names(self.label_names)
        return self


def _check_label_names(names: tuple[str, ...] | None) -> None:
    if names is not None and (len(names) < 2 or len(set(map(_name_or_number, names))) != len(names)):
        raise ValueError(f"label_names is {quoted(list(names))}; give at least two distinct names")


class MultilabelTaskConfig(_TaskConfig):
    """A user's own multi-label classification: one text or a pair, and any number of labels."""

    kind: Literal["multilabel"] = "multilabel"
    name: TaskName | None = Field(None, description=_NAME_HELP)
    text: TextColumns = Field(("text",), description="The column of the text, or the two columns of a pair.")
    label: str | tuple[str, ...] = Field(
        "labels",
        description="The column of each row's labels: a list of names, or in CSV and TSV a JSON list, or names with "
        "separators between them; empty for none. Or two or more columns of 0 and 1, whose names are those of the "
        "labels.",
    )
    separator: str = Field(
        ";", min_length=1, max_length=8, description="Between names in one cell; no name may contain it."
    )
    label_names: Annotated[tuple[str, ...] | None, BeforeValidator(_names_from_numbers)] = Field(
        None, description="Names of the labels, in the order of the model's outputs; by default those of train."
    )
    metric: LabelsMetric = Field("micro_f1", description="accuracy is the share of rows with every label right.")

    @property
    def _output(self) -> Output:
        return "labels"

    @model_validator(mode="after")
    def _labels_have_names(self) -> Self:
        _check_label_names(self.label_names)
        if not self.separator.strip() or self.separator.strip() != self.separator:
            raise ValueError(f"separator is {self.separator!r}; give characters without spaces around them")
        if not self.separator.isprintable() or any(letter.isalnum() for letter in self.separator):
            raise ValueError(f"separator is {self.separator!r}; give marks such as ; or |, as letters would cut names")
        if not isinstance(self.label, str):
            if len(self.label) < 2 or len(set(self.label)) < len(self.label):
                raise ValueError(
                    f"label is {quoted(list(self.label))}; give one column of names, or at least two columns of 0 and 1"
                )
            if self.label_names is not None:
                raise ValueError("label_names is given, but the labels have the names of their columns; leave it out")
        return self


class RegressionTaskConfig(_TaskConfig):
    """A user's own regression: one text or a pair, and a number."""

    kind: Literal["regression"] = "regression"
    name: TaskName | None = Field(None, description=_NAME_HELP)
    text: TextColumns = Field(("text",), description="The column of the text, or the two columns of a pair.")
    label: str = "label"
    metric: ValueMetric = "spearman"

    @field_validator("metric", mode="before")
    @classmethod
    def _errors_never_choose(cls, given: Any) -> Any:
        if isinstance(given, str) and given in ERROR_METRICS:
            raise ValueError(_ERRORS_NEVER_CHOOSE)
        return given

    @property
    def _output(self) -> Output:
        return "value"


class BuiltinTaskConfig(_TaskConfig):
    """The task that the package generates: whether a short review is good or bad."""

    kind: Literal["builtin"] = "builtin"


TaskConfig = Annotated[
    GlueTaskConfig | ClassificationTaskConfig | MultilabelTaskConfig | RegressionTaskConfig | BuiltinTaskConfig,
    Field(discriminator="kind"),
]
