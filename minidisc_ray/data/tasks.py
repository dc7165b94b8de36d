"""Resolves a task's config to a `Task`, with the columns, label names and metrics of GLUE or of the user."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.task import (
    BuiltinTaskConfig,
    ClassificationTaskConfig,
    GlueTaskConfig,
    MultilabelTaskConfig,
    RegressionTaskConfig,
    TaskConfig,
)
from minidisc_ray.core.task import Task
from minidisc_ray.data.quoting import cut, quoted

BUILTIN_LABEL_NAMES = ("negative", "positive")


class _Glue(NamedTuple):
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    validation_splits: tuple[str, ...] = ("validation",)


# Columns and label order as in nyu-mll/glue; metrics as in GLUE, the primary one first.
_GLUE = {
    "cola": _Glue(("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
    "sst2": _Glue(("sentence",), ("negative", "positive"), ("accuracy",)),
    "mrpc": _Glue(("sentence1", "sentence2"), ("not_equivalent", "equivalent"), ("f1", "accuracy")),
    "stsb": _Glue(("sentence1", "sentence2"), (), ("spearman", "pearson")),
    "qqp": _Glue(("question1", "question2"), ("not_duplicate", "duplicate"), ("f1", "accuracy")),
    "mnli": _Glue(
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        ("validation_matched", "validation_mismatched"),
    ),
    "qnli": _Glue(("question", "sentence"), ("entailment", "not_entailment"), ("accuracy",)),
    "rte": _Glue(("sentence1", "sentence2"), ("entailment", "not_entailment"), ("accuracy",)),
    "wnli": _Glue(("sentence1", "sentence2"), ("not_entailment", "entailment"), ("accuracy",)),
}


def resolve_task(config: TaskConfig, label_names: Sequence[str] | None = None, name: str | None = None) -> Task:
    """Resolve a config to its columns, label names, metrics and validation sets.

    Args:
        config: of the task.
        label_names: names found in the training labels; used only by a classification without names of its own.
        name: what to call a user's own task (``RunConfig.task_name``); by default its kind.

    Raises:
        UserError: if a classification has no names of its own, and fewer than two were found; or a metric is f1, and
            there are more than two.
    """
    task = _resolve(config, label_names, name or config.kind)
    metrics = tuple(dict.fromkeys((*task.metrics, *config.extra_metrics)))
    task = dataclasses.replace(task, metrics=metrics, selection_metrics=config.selection_metric or ())
    by_key = {
        "metric": task.metrics[:1],
        "selection_metric": task.selection_metrics,
        "extra_metrics": config.extra_metrics,
    }
    for key, names in by_key.items():
        if "f1" in names and task.num_labels > 2:
            raise UserError(
                f"task.{key}: f1 is of two classes, and the task has {task.num_labels} "
                f"({cut(', '.join(task.label_names))}); use macro_f1, the mean over classes, or weighted_f1"
            )
    return task


def _resolve(config: TaskConfig, label_names: Sequence[str] | None, own_name: str) -> Task:
    match config:
        case GlueTaskConfig():
            glue = _GLUE[config.name]
            return Task(config.name, glue.text_columns, "label", glue.label_names, glue.metrics, glue.validation_splits)
        case ClassificationTaskConfig():
            names = _names(config.label_names, label_names)
            return Task(own_name, config.text, config.label, names, (config.metric,))
        case MultilabelTaskConfig():
            columns = () if isinstance(config.label, str) else config.label
            names = columns or _names(config.label_names, label_names)
            label = config.label if isinstance(config.label, str) else ", ".join(config.label)
            _check_separator(config.separator, names)
            return Task(
                own_name,
                config.text,
                label,
                names,
                (config.metric,),
                is_multilabel=True,
                label_columns=columns,
                separator=config.separator,
            )
        case RegressionTaskConfig():
            other = "pearson" if config.metric == "spearman" else "spearman"
            return Task(own_name, config.text, config.label, (), (config.metric, other))
        case BuiltinTaskConfig():
            return Task(config.kind, ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",))


def _names(given: Sequence[str] | None, found: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(given or found or ())
    if len(names) < 2:
        only = f"only {quoted(names[0])} is" if names else "none are"
        raise UserError(f"task.label_names: missing, and {only} found in the training labels; give at least two names")
    return names


def _check_separator(separator: str, names: Sequence[str]) -> None:
    """Refuse a name that has the separator in it, as such a name could be read as two."""
    for name in names:
        if separator in name:
            raise UserError(
                f"task.separator: {quoted(separator)} is part of the label {quoted(name)}; give characters that no "
                "label contains"
            )


def given_label_names(config: TaskConfig) -> tuple[str, ...] | None:
    """Label names of the config; empty for regression, None if they are to be found in the rows."""
    if isinstance(config, ClassificationTaskConfig | MultilabelTaskConfig) and config.label_names is None:
        return None if isinstance(config.label, str) else config.label
    return resolve_task(config).label_names


def label_columns(config: TaskConfig) -> tuple[str, ...]:
    """The column of the label; or, of a multi-label task, that of each label where they have columns of their own."""
    if isinstance(config, ClassificationTaskConfig | MultilabelTaskConfig | RegressionTaskConfig):
        return (config.label,) if isinstance(config.label, str) else config.label
    return (resolve_task(config).label_column,)


def task_columns(config: TaskConfig) -> tuple[str, ...]:
    """The columns that a task reads: its one or two texts, then its label or labels."""
    if isinstance(config, ClassificationTaskConfig | MultilabelTaskConfig | RegressionTaskConfig):
        return (*config.text, *label_columns(config))
    task = resolve_task(config)
    return (*task.text_columns, task.label_column)


def validation_names(config: TaskConfig) -> tuple[str, ...]:
    """The validation sets of a task, the primary one first; only that one is required."""
    return _GLUE[config.name].validation_splits if isinstance(config, GlueTaskConfig) else ("validation",)
