"""Whether a teacher has anything to teach: its answers on the selection split beside answers that look at no text."""

import itertools
from dataclasses import dataclass

import numpy as np

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import LabelledRows, difference_estimate, majority_logits, score
from minidisc_ray.pipeline.predictions import SELECTION
from minidisc_ray.pipeline.prepared import Prepared

_MOST_CLASSES = 6  # whose orders are tried: 720 of them
_LEVEL = 0.95


@dataclass(frozen=True)
class Lead:
    """How far a model is above answers that look at no text, in its task's primary metric.

    Attributes:
        model: the model's score.
        majority: that of always giving the rows' commonest class, or train's mean value.
        low: the lower end of the one-sided 95% interval of the difference, over rows.
    """

    model: float
    majority: float
    low: float

    @property
    def is_none(self) -> bool:
        """Whether there is no lead at all."""
        return self.model <= self.majority


def lead_of(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,)
    train_labels: np.ndarray,
) -> Lead:
    """The lead of a model's answers on some rows; rows are resampled by the paired bootstrap."""
    constant = majority_logits(task, train_labels, labels)
    rows = LabelledRows(task, {SELECTION: labels}, scored_splits=[SELECTION])
    ours, theirs = ({0: rows.predictions({SELECTION: each})} for each in (logits, constant))
    drawn = difference_estimate(rows, ours, theirs).replicates
    primary = task.primary_metric
    return Lead(
        score(task, logits, labels)[primary],
        score(task, constant, labels)[primary],
        float(np.quantile(drawn, 1 - _LEVEL)),
    )


def teacher_warning(prepared: Prepared, logits: np.ndarray) -> str | None:
    """Why little can be learned from a teacher with such logits, (N, C), on the selection split; None if it can."""
    lead = _lead(prepared, logits)
    if lead.is_none:
        return f"{_learned_nothing(prepared, lead)}: whatever is distilled from it shows nothing"
    if lead.low > 0:
        return None
    return (
        f"the teacher's {prepared.task.primary_metric} of {_points(lead.model)} on {_rows(prepared)} may be chance: "
        f"always giving {_constant(prepared)} scores {_points(lead.majority)}, which is within the one-sided 95% "
        "interval over rows"
    )


def require_lead(prepared: Prepared, logits: np.ndarray) -> None:
    """Refuse a teacher that has learned nothing, before anything is paid for what it would teach.

    Args:
        prepared: the checked recipe.
        logits: the teacher's, (N, C), on the selection split.

    Raises:
        UserError: if it is not above answers that look at no text, unless the recipe allows that.
    """
    teacher = prepared.config.teacher
    lead = _lead(prepared, logits)
    if teacher.allow_at_chance or not lead.is_none:
        return
    is_given = isinstance(teacher, PretrainedTeacherConfig)
    key = "teacher.path" if is_given else "teacher"
    hint = "train it longer, or at another learning rate (finetune)"
    if prepared.teacher_is_fine_tuned:
        hint = (
            _order_hint(prepared, logits) or "its head is of another task, or another tokenizer's; use another teacher"
        )
    raise UserError(
        f"{key}: {_learned_nothing(prepared, lead)}; {hint}, or go on all the same with teacher.allow_at_chance: true"
    )


def _order_hint(prepared: Prepared, logits: np.ndarray) -> str | None:
    """The order of a head's classes in which it fits the task; None if none does."""
    task, labels = prepared.task, prepared.selection.labels.numpy()
    if task.is_regression or task.num_labels > _MOST_CLASSES:
        return None
    # How often output i is the largest where the class is j.
    counts = np.zeros((task.num_labels, task.num_labels), dtype=np.int64)
    np.add.at(counts, (logits.argmax(axis=1), labels), 1)
    orders = itertools.permutations(range(task.num_labels))
    order = max(orders, key=lambda order: sum(counts[output, given] for given, output in enumerate(order)))
    lead = lead_of(task, logits[:, list(order)], labels, prepared.splits.train.labels)
    if lead.low <= 0:
        return None
    names = [task.label_names[order.index(output)] for output in range(task.num_labels)]
    return (
        f"its head fits with its outputs in the order {', '.join(names)} ({_points(lead.model)}), so put the rows of "
        f"its classifier in the task's order ({', '.join(task.label_names)})"
    )


def _lead(prepared: Prepared, logits: np.ndarray) -> Lead:
    return lead_of(prepared.task, logits, prepared.selection.labels.numpy(), prepared.splits.train.labels)


def _learned_nothing(prepared: Prepared, lead: Lead) -> str:
    return (
        f"the teacher has learned nothing: its {prepared.task.primary_metric} on {_rows(prepared)} is "
        f"{_points(lead.model)}, and always giving {_constant(prepared)} scores {_points(lead.majority)}"
    )


def _rows(prepared: Prepared) -> str:
    return f"the {len(prepared.selection):,} selection rows"


def _constant(prepared: Prepared) -> str:
    return "train's mean" if prepared.task.is_regression else "their commonest class"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
