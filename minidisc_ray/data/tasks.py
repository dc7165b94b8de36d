"""Resolves a task's config to a `Task`, with the columns, label names and metrics of GLUE or of the user."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.task import (
    BuiltinTaskConfig,
    ClassificationTaskConfig,
    GlueTaskConfig,
    RegressionTaskConfig,
    TaskConfig,
)
from minidisc_ray.core.task import Task
from minidisc_ray.data.quoting import quoted

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
        UserError: if a classification has no names of its own, and fewer than two were found.
    """
    task = _resolve(config, label_names, name or config.kind)
    return dataclasses.replace(task, selection_metrics=config.selection_metric or ())


def _resolve(config: TaskConfig, label_names: Sequence[str] | None, own_name: str) -> Task:
    match config:
        case GlueTaskConfig():
            glue = _GLUE[config.name]
            return Task(config.name, glue.text_columns, "label", glue.label_names, glue.metrics, glue.validation_splits)
        case ClassificationTaskConfig():
            names = config.label_names or tuple(label_names or ())
            if len(names) < 2:
                found = f"only {quoted(names[0])} is" if names else "none are"
                raise UserError(
                    f"task.label_names: missing, and {found} found in the training labels; give at least two names"
                )
            return Task(own_name, config.text, config.label, names, (config.metric,))
        case RegressionTaskConfig():
            other = "pearson" if config.metric == "spearman" else "spearman"
            return Task(own_name, config.text, config.label, (), (config.metric, other))
        case BuiltinTaskConfig():
            return Task(config.kind, ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",))


def given_label_names(config: TaskConfig) -> tuple[str, ...] | None:
    """Label names of the config; empty for regression, None if they are to be found in the rows."""
    if isinstance(config, ClassificationTaskConfig) and config.label_names is None:
        return None
    return resolve_task(config).label_names


def task_columns(config: TaskConfig) -> tuple[str, ...]:
    """The columns that a task reads: its one or two texts, then its label."""
    if isinstance(config, ClassificationTaskConfig | RegressionTaskConfig):
        return (*config.text, config.label)
    task = resolve_task(config)
    return (*task.text_columns, task.label_column)


def validation_names(config: TaskConfig) -> tuple[str, ...]:
    """The validation sets of a task, the primary one first; only that one is required."""
    return _GLUE[config.name].validation_splits if isinstance(config, GlueTaskConfig) else ("validation",)
