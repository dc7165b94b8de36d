"""Checks that a teacher can teach: compares its answers on the selection split with answers that ignore the text."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.task import Output, Task
from minidisc_ray.evaluation import LabelledRows, difference_estimate, majority_logits, score
from minidisc_ray.evaluation.weighted import weighted_scores
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.predictions import SELECTION

_MAX_CLASSES = 6  # every order of the classes is tried: 720 of them
_LEVEL = 0.95
_SHUFFLES = 400
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Lead:
    """How far a model's score is above scores that need no text, in the task's primary metric.

    Attributes:
        model: the model's score.
        majority: the score of always giving the rows' commonest class, the commoner answer to each label, or train's
            mean value.
        shuffled: the mean score of the model's own answers in random order. It is needed for F1 of a rare class, where
            always giving the commonest class scores 0 and any guess scores more.
        low: the lower end of the one-sided 95% interval of the difference to the majority, over rows.
        p_value: the share of random orders of its answers that score no less than the model (permutation test).
    """

    model: float
    majority: float
    shuffled: float
    low: float
    p_value: float

    @property
    def is_none(self) -> bool:
        """Whether the model scores no more than either of the two."""
        return self.model <= max(self.majority, self.shuffled) + _ROUNDING

    @property
    def is_significant(self) -> bool:
        """Whether both tests, one-sided at 95%, find the lead too large for chance."""
        return not self.is_none and self.low > 0 and self.p_value <= 1 - _LEVEL


def lead_of(
    task: Task,
    logits: np.ndarray,  # (N, C)
    labels: np.ndarray,  # (N,)
    train_labels: np.ndarray,  # (M,)
) -> Lead:
    """A model's lead on some rows, tested by a paired bootstrap over rows and by permuting its answers."""
    constant = majority_logits(task, train_labels, labels)
    rows = LabelledRows(task, {SELECTION: labels}, scored_splits=[SELECTION])
    ours, theirs = ({0: rows.predictions({SELECTION: each})} for each in (logits, constant))
    drawn = difference_estimate(rows, ours, theirs).replicates
    generator = np.random.default_rng(0)
    permuted = [rows.predictions({SELECTION: generator.permutation(logits)}) for _ in range(_SHUFFLES)]
    once = np.ones((1, len(labels)))
    shuffled = weighted_scores(rows, SELECTION, permuted, once)[0]
    primary = task.primary_metric
    found = score(task, logits, labels)[primary]
    return Lead(
        model=found,
        majority=score(task, constant, labels)[primary],
        # Correlations of permuted answers average 0, apart from sampling noise.
        shuffled=0.0 if task.is_regression else float(shuffled.mean()),
        low=float(np.quantile(drawn, 1 - _LEVEL)),
        p_value=float(np.mean(shuffled >= found - _ROUNDING)),
    )


def teacher_warning(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """A warning if a teacher's logits, (N, C), on the selection split may be no better than chance; else None."""
    lead = _lead(prepared, logits)
    if lead.is_none:
        return f"{_learned_nothing(prepared, lead)}; distilling from it shows nothing"
    if lead.is_significant:
        return None
    return (
        f"the teacher's {prepared.task.primary_metric} of {_points(lead.model)} on {_rows(prepared)} may be chance: "
        f"{_score_without_text(prepared, lead)}, which is within the one-sided 95% interval over rows"
    )


def refusal_of(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """Why the run must not distil from its teacher, in a sentence; None if it may.

    Args:
        prepared: the checked recipe.
        logits: the teacher's logits on the selection split, (N, C).
    """
    teacher = prepared.config.teacher
    if teacher.allow_at_chance:
        return None
    lead = _lead(prepared, logits)
    # A head used as it is may have its classes in another order, which a good score need not show.
    order = _better_class_order(prepared, logits) if prepared.teacher_is_fine_tuned else None
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
    return f"{key}: {found}; {hint}; or run anyway with teacher.allow_at_chance: true"


def _better_class_order(prepared: PreparedRun, logits: np.ndarray) -> str | None:
    """A sentence naming an order of the head's classes that fits the labels far better; None if there is none."""
    task, labels = prepared.task, prepared.selection.labels.numpy()
    if task.output != "class" or task.num_labels > _MAX_CLASSES:
        return None
    # counts[i, j]: rows of class j whose largest output is i.
    counts = np.zeros((task.num_labels, task.num_labels), dtype=np.int64)
    np.add.at(counts, (logits.argmax(axis=1), labels), 1)
    orders = list(itertools.permutations(range(task.num_labels)))
    order = max(orders, key=lambda order: sum(counts[output, given] for given, output in enumerate(order)))
    lead = lead_of(task, logits[:, list(order)], labels, prepared.splits.train.labels)
    # The best of many orders gains some rows by luck: a sign test, corrected for their number, must rule that out.
    gained = (logits.argmax(axis=1) == np.array(order)[labels]).astype(int) - (logits.argmax(axis=1) == labels)
    wins, losses = int((gained > 0).sum()), int((gained < 0).sum())
    is_luck = wins + losses == 0 or binomtest(wins, wins + losses, alternative="greater").pvalue > 0.05 / len(orders)
    if not lead.is_significant or is_luck:
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
        f"{_points(lead.model)}, and {_score_without_text(prepared, lead)}"
    )


def _score_without_text(prepared: PreparedRun, lead: Lead) -> str:
    """The better of the two scores that need no text, in words."""
    if lead.shuffled > lead.majority:
        return f"its own answers given to rows at random score {_points(lead.shuffled)}"
    constants: dict[Output, str] = {
        "class": "their commonest class",
        "labels": "the commoner answer to each label",
        "value": "train's mean",
    }
    return f"always giving {constants[prepared.task.output]} scores {_points(lead.majority)}"


def _rows(prepared: PreparedRun) -> str:
    return f"the {len(prepared.selection):,} selection rows"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
