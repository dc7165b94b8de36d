"""Guesses what a user's file is for: which columns are texts, which one is the label, classes or numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.labels import as_number
from minidisc_ray.data.label_sets import distinct_names_in_cells
from minidisc_ray.data.labels import LabelError, distinct_names
from minidisc_ray.data.quoting import cut, listed, named
from minidisc_ray.data.table import Table, has_label

_PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text1", "text2"),
    ("text_a", "text_b"), ("question", "sentence"), ("question", "answer"), ("question", "context"),
    ("question", "passage"), ("query", "document"), ("query", "passage"),
)  # fmt: skip
_TEXTS = (
    "text", "sentence", "review", "question", "content", "comment", "body", "message", "tweet", "utterance",
    "document", "description",
)  # fmt: skip
_LABELS = (
    "label", "labels", "gold_label", "class", "category", "target", "sentiment", "intent", "score", "rating", "stars",
    "similarity", "y",
)  # fmt: skip
_SHOWN = 5  # classes in a sentence
_MAX_CLASSES = 50
_ROWS_OF_A_CLASS = 5  # on average; with fewer the column is no label
_MAX_NUMBERED_CLASSES = 20  # more whole numbers than that are values
_WORDS_OF_A_TEXT = 4  # on average, of the second text of a pair


@dataclass(frozen=True)
class InferredTask:
    """A task as guessed from a file.

    Attributes:
        kind: of the task.
        text: one or two columns.
        label: its column.
        classes: the names found, in the order of the model's outputs; empty for a regression.
        sentence: what was assumed, and why.
        missing: how many rows have no label, in words; None if every row has one.
    """

    kind: Literal["classification", "multilabel", "regression"]
    text: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    sentence: str
    missing: str | None = None


def infer_task(table: Table) -> InferredTask:
    """Guess texts and label from the columns' names, or else from their contents.

    Args:
        table: all columns of a file.

    Raises:
        UserError: if there are no rows, no column looks like a text, or none like a label, or all labels are the same.
    """
    if not any(table.columns.values()):
        what = "has columns and no rows" if table.columns else "is empty"
        raise UserError(f"{table.key}: {table.where} {what}; give a file with rows to train on")
    columns = [
        _Column(name, [value for value in values if value is not None]) for name, values in table.columns.items()
    ]
    texts, by = _texts(columns)
    if not texts:
        raise UserError(_nothing_like("a text", table, "task.text"))
    rest = [column for column in columns if column not in texts and column.values]
    called = [column for name in _LABELS for column in rest if column.lower == name and column.can_be_label]
    few = [column for column in rest if column.has_classes]
    several = [column for column in rest if column.has_few_labels]
    fractional = [column for column in rest if column.is_fractional]
    # Tables have the label last as a rule.
    label = next((found for found in (called[:1], few[-1:], several[-1:], fractional[-1:]) if found), [])
    if not label:
        raise UserError(_nothing_like("a label", table, "task.label"))
    found, text = label[0], tuple(column.name for column in texts)
    if len(found.classes) == 1:
        raise UserError(
            f'{table.key}: every label in {table.where} is {named(found.classes[0])} (column "{cut(found.name)}"); a '
            "task needs at least two different ones"
        )
    unused = [column.name for column in columns if column not in (*texts, found)]
    sentence = f"text is {' and '.join(map(cut, text))} ({by}), label is {cut(found.name)} ({found.described})"
    sentence += f"; not used: {listed(unused)}" if unused else ""
    if found.kind == "classification" and any(";" in str(name) for name in found.classes):
        sentence += "; if a semicolon separates several labels of a row, set task.kind to multilabel"
    return InferredTask(
        found.kind,
        text,
        found.name,
        found.classes,
        sentence,
        _without_label(found, len(table.columns[found.name])),
    )


def _without_label(found: "_Column", num_rows: int) -> str | None:
    """How many rows have no label, in words; None if all have one, or a row may have none."""
    missing = num_rows - sum(map(has_label, found.values))
    if not missing or found.kind == "multilabel":
        return None
    return f"{missing:,} of {num_rows:,} rows have no {cut(found.name)}"


@dataclass(frozen=True, eq=False)
class _Column:
    name: str
    values: list[Any]  # without missing ones

    @property
    def lower(self) -> str:
        return self.name.strip().lower()

    @cached_property
    def distinct(self) -> int:
        return len(set(map(str, self.values)))

    @cached_property
    def numbers(self) -> list[Any]:
        """The values as numbers; empty if one of them is none."""
        numbers = [as_number(value) for value in self.values]
        return [] if None in numbers else numbers

    @cached_property
    def is_text(self) -> bool:
        is_text = bool(self.values) and all(isinstance(value, str) for value in self.values)
        return is_text and not self.numbers and not self.label_sets

    @cached_property
    def mean_length(self) -> float:
        return sum(map(len, self.values)) / len(self.values)

    @cached_property
    def mean_words(self) -> float:
        return sum(len(value.split()) for value in self.values) / len(self.values)

    @property
    def is_varied_text(self) -> bool:
        return self.is_text and 2 * self.distinct > len(self.values)

    @cached_property
    def is_fractional(self) -> bool:
        return any(number != number.to_integral_value() for number in self.numbers)

    @property
    def is_regression(self) -> bool:
        return self.is_fractional or (bool(self.numbers) and self.distinct > _MAX_NUMBERED_CLASSES)

    @cached_property
    def label_sets(self) -> tuple[str, ...]:
        """The distinct names of a column of lists, in Parquet and JSON or as JSON texts; empty for other columns."""
        is_list = [
            isinstance(value, list) or (isinstance(value, str) and value.strip()[:1] == "[") for value in self.values
        ]
        if not all(is_list):
            return ()
        try:
            names = distinct_names_in_cells(self.values, ";")
        except LabelError:
            return ()
        # Lists of nothing but 0 and 1 are answers, not names.
        return () if set(names) <= {"0", "1"} else names

    @property
    def has_few_labels(self) -> bool:
        return 2 <= len(self.label_sets) <= _MAX_CLASSES

    @property
    def kind(self) -> Literal["classification", "multilabel", "regression"]:
        return "multilabel" if self.label_sets else "regression" if self.is_regression else "classification"

    @property
    def has_classes(self) -> bool:
        limit = max(2, min(_MAX_CLASSES, len(self.values) // _ROWS_OF_A_CLASS))
        return 2 <= self.distinct <= limit and not self.is_fractional and not self.label_sets

    @property
    def can_be_label(self) -> bool:
        return bool(self.numbers or self.label_sets) or 2 * self.distinct <= len(self.values)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes or labels; none of a regression."""
        if self.is_regression:
            return ()
        if self.label_sets:
            return self.label_sets
        try:
            return distinct_names(self.values)
        except LabelError:
            return tuple(sorted(set(map(str, self.values))))  # `plan` says what is wrong with them

    @property
    def described(self) -> str:
        if self.is_regression:
            return f"a regression: numbers from {min(self.numbers):f} to {max(self.numbers):f}"
        shown = ", ".join(map(named, self.classes[:_SHOWN])) + (", ..." if len(self.classes) > _SHOWN else "")
        kind = "labels, any number in a row" if self.kind == "multilabel" else "classes"
        return f"{len(self.classes)} {kind}: {shown}"


def _texts(columns: Sequence[_Column]) -> tuple[list[_Column], str]:
    """The columns of text, and how they were found."""
    by_name = {column.lower: column for column in columns if column.is_text}
    for pair in _PAIRS:
        if all(name in by_name for name in pair):
            return [by_name[name] for name in pair], "by their names"
    for name in _TEXTS:
        if name in by_name:
            return [by_name[name]], "by its name"
    longest = sorted((column for column in columns if column.is_varied_text), key=lambda column: -column.mean_length)
    pair_of = [
        column
        for column in longest[1:2]
        if 4 * column.mean_length >= longest[0].mean_length and column.mean_words >= _WORDS_OF_A_TEXT
    ]
    chosen = [*longest[:1], *pair_of]
    return [column for column in columns if column in chosen], "the longest texts"


def _nothing_like(what: str, table: Table, key: str) -> str:
    names = listed(list(table.columns))
    return (
        f"{table.key}: no column of {table.where} looks like {what}; its columns are {names}; give the file of another "
        f"task, or write a recipe with {key} by hand (docs/guide/recipes.md)"
    )
