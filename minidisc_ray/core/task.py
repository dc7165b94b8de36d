"""A task: its input columns, its labels and its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# What a row's label is: one of the classes, a number, or any number of the label names.
Output = Literal["class", "value", "labels"]
# Smaller is better, and they have no upper bound: they are reported, and never choose.
ERROR_METRICS = frozenset({"mean_squared_error", "mean_absolute_error"})

_MEAN_OF, _AND = "mean of ", " and "


@dataclass(frozen=True)
class Task:
    """A task with all defaults filled in.

    Attributes:
        name: as tables show it.
        text_columns: one or two columns of text.
        label_column: the column of the label.
        label_names: names in the order of the model's outputs; empty for regression.
        metrics: names of all reported metrics, the primary one first.
        validation_splits: names of the sets that scores are reported on, the primary one first.
        selection_metrics: metrics whose mean early stopping and choices maximise; by default the primary one.
        is_multilabel: whether a row may have several of the label names, or none.
        label_columns: of a multi-label task with a column for each label; empty where one column has them all.
        separator: between labels in one cell of text.
    """

    name: str
    text_columns: tuple[str, ...]
    label_column: str
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    validation_splits: tuple[str, ...] = ("validation",)
    selection_metrics: tuple[str, ...] = ()
    is_multilabel: bool = False
    label_columns: tuple[str, ...] = ()
    separator: str = ";"

    @property
    def output(self) -> Output:
        """What a row's label is."""
        if self.is_multilabel:
            return "labels"
        return "class" if self.label_names else "value"

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers rather than names."""
        return self.output == "value"

    @property
    def num_labels(self) -> int:
        """Width of the model's output: the number of label names, or 1 for regression."""
        return len(self.label_names) or 1

    @property
    def primary_metric(self) -> str:
        """The metric that tables show."""
        return self.metrics[0]

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """The metrics whose mean early stopping and choices use."""
        return self.selection_metrics or self.metrics[:1]

    @property
    def selection_label(self) -> str:
        """What early stopping and choices use, in words."""
        return self.chosen_by[0] if len(self.chosen_by) == 1 else f"{_MEAN_OF}{_AND.join(self.chosen_by)}"

    def selection_score(self, scores: Mapping[str, float]) -> float:
        """The mean of the metrics that early stopping and choices use, on the selection split."""
        return sum(scores[name] for name in self.chosen_by) / len(self.chosen_by)


def selection_names(label: str) -> tuple[str, ...]:
    """The metrics that a ``selection_label`` names."""
    return tuple(label.removeprefix(_MEAN_OF).split(_AND)) if label.startswith(_MEAN_OF) else (label,)
