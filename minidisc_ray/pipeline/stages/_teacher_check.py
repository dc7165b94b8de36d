"""Whether a teacher has anything to teach: its answers on the selection split beside answers that look at no text."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.task import Task
from minidisc_ray.evaluation import LabelledRows, difference_estimate, majority_logits, score
from minidisc_ray.evaluation.weighted import weighted_scores
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.predictions import SELECTION

_MOST_CLASSES = 6  # whose orders are tried: 720 of them
_LEVEL = 0.95
_SHUFFLES = 400
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Lead:
    """How far a model is above answers that look at no text, in its task's primary metric.

    Attributes:
        model: the model's score.
        majority: that of always giving the rows' commonest class, or train's mean value.
        blind: the mean score of the model's own answers given to rows at random. Where F1 counts a rare class, always
            giving the commonest one scores 0, and any guess would be above it.
        low: the lower end of the one-sided 95% interval of the difference to the majority, over rows.
        chance: the share of random orders of its answers that score no less than the model.
    """

    model: float
    majority: float
    blind: float
    low: float
    chance: float

    @property
    def is_none(self) -> bool:
        """Whether there is no lead at all."""
        return self.model <= max(self.majority, self.blind) + _ROUNDING

    @property
    def is_sure(self) -> bool:
        """Whether chance would not give it, one-sided and at 95%."""
        return not self.is_none and self.low > 0 and self.chance <= 1 - _LEVEL


def lead_of(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,)
    train_labels: np.ndarray,
) -> Lead:
    """The lead of a model's answers on some rows, by the paired bootstrap over rows and by random orders of answers."""
    constant = majority_logits(task, train_labels, labels)
    rows = LabelledRows(task, {SELECTION: labels}, scored_splits=[SELECTION])
    ours, theirs = ({0: rows.predictions({SELECTION: each})} for each in (logits, constant))
    drawn = difference_estimate(rows, ours, theirs).replicates
    generator = np.random.default_rng(0)
    shuffled = [rows.predictions({SELECTION: generator.permutation(logits)}) for _ in range(_SHUFFLES)]
    once = np.ones((1, len(labels)))
    blind = weighted_scores(rows, SELECTION, shuffled, once)[0]
    primary = task.primary_metric
    found = score(task, logits, labels)[primary]
    return Lead(
        model=found,
        majority=score(task, constant, labels)[primary],
        # In a regression it is the constant's 0, but for the luck of the draw.
        blind=0.0 if task.is_regression else float(blind.mean()),
        low=float(np.quantile(drawn, 1 - _LEVEL)),
        chance=float(np.mean(blind >= found - _ROUNDING)),
    )


def teacher_warning(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """Why little can be learned from a teacher with such logits, (N, C), on the selection split; None if it can."""
    lead = _lead(prepared, logits)
    if lead.is_none:
        return f"{_learned_nothing(prepared, lead)}: whatever is distilled from it shows nothing"
    if lead.is_sure:
        return None
    return (
        f"the teacher's {prepared.task.primary_metric} of {_points(lead.model)} on {_rows(prepared)} may be chance: "
        f"{_without_reading(prepared, lead)}, which is within the one-sided 95% interval over rows"
    )


def refusal_of(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """Why nothing should be paid for what a teacher would teach, in a sentence; None if the run may go on.

    Args:
        prepared: the checked recipe.
        logits: the teacher's, (N, C), on the selection split.
    """
    teacher = prepared.config.teacher
    if teacher.allow_at_chance:
        return None
    lead = _lead(prepared, logits)
    # Of a head used as it is: one whose classes stand in another order is wrong, even where a metric looks well.
    order = _order_that_fits(prepared, logits) if prepared.teacher_is_fine_tuned else None
    if not lead.is_none and order is None:
        return None
    key = "teacher.path" if isinstance(teacher, PretrainedTeacherConfig) else "teacher"
    found = _learned_nothing(prepared, lead)
    if order is not None:
        found = found if lead.is_none else "the teacher's outputs are not in the order of the task's classes"
        hint = order
    elif prepared.teacher_is_fine_tuned:
        hint = (
            "its head may be of another task, its weights of another tokenizer, or classes too unequal for the metric"
        )
    else:
        hint = "train it longer, or at another learning rate (finetune)"
    return f"{key}: {found}; {hint}, or go on all the same with teacher.allow_at_chance: true"


def _order_that_fits(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """Another order of a head's classes in which it fits the task far better, in words; None if none does."""
    task, labels = prepared.task, prepared.selection.labels.numpy()
    if task.is_regression or task.num_labels > _MOST_CLASSES:
        return None
    # How often output i is the largest where the class is j.
    counts = np.zeros((task.num_labels, task.num_labels), dtype=np.int64)
    np.add.at(counts, (logits.argmax(axis=1), labels), 1)
    orders = list(itertools.permutations(range(task.num_labels)))
    order = max(orders, key=lambda order: sum(counts[output, given] for given, output in enumerate(order)))
    lead = lead_of(task, logits[:, list(order)], labels, prepared.splits.train.labels)
    # The best of many orders fits by luck, too: its rows right must exceed those of the order as it is beyond that.
    gained = (logits.argmax(axis=1) == np.array(order)[labels]).astype(int) - (logits.argmax(axis=1) == labels)
    wins, losses = int((gained > 0).sum()), int((gained < 0).sum())
    is_luck = wins + losses == 0 or binomtest(wins, wins + losses, alternative="greater").pvalue > 0.05 / len(orders)
    if not lead.is_sure or is_luck:
        return None
    names = [task.label_names[order.index(output)] for output in range(task.num_labels)]
    return (
        f"its head fits with its outputs in the order {', '.join(names)} ({_points(lead.model)}), so put the rows of "
        f"its classifier in the task's order ({', '.join(task.label_names)})"
    )


def _lead(prepared: PreparedRun, logits: np.ndarray) -> Lead:
    return lead_of(prepared.task, logits, prepared.selection.labels.numpy(), prepared.splits.train.labels)


def _learned_nothing(prepared: PreparedRun, lead: Lead) -> str:
    return (
        f"the teacher has learned nothing: its {prepared.task.primary_metric} on {_rows(prepared)} is "
        f"{_points(lead.model)}, and {_without_reading(prepared, lead)}"
    )


def _without_reading(prepared: PreparedRun, lead: Lead) -> str:
    """The better of the scores that take no text."""
    if lead.blind > lead.majority:
        return f"its own answers given to rows at random score {_points(lead.blind)}"
    constant = "train's mean" if prepared.task.is_regression else "their commonest class"
    return f"always giving {constant} scores {_points(lead.majority)}"


def _rows(prepared: PreparedRun) -> str:
    return f"the {len(prepared.selection):,} selection rows"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
