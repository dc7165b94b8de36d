"""Chooses a trial's assistants: applies the recipe's selection rule to the candidates' metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from minidisc_ray.configs.selection import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.tradeoff import LAMBDA_SCAN, best_chain, lambda_tradeoff, negative_derivative
from minidisc_ray.schedules.plan import SandwichStep
from minidisc_ray.training.state import EpochRecord, best_epoch


@dataclass(frozen=True)
class Choice:
    """Assistants chosen together, largest first.

    Attributes:
        chain: their scales in percent.
        value: the sum of their trade-offs, each measured against the model above it.
        tradeoffs: each candidate's trade-off against the teacher, by scale percent.
    """

    chain: tuple[int, ...]
    value: float
    tradeoffs: dict[int, float]


def epoch_value(rule: SelectionConfig, metrics: Mapping[int, float], choice: Choice) -> float:
    """The value that decides which epoch of a sandwich is kept: its choice's trade-off, or the candidates' mean metric.

    The negative derivative chooses a candidate, never an epoch: it is large where neighbours disagree, so it would keep
    the noisiest epoch.

    Args:
        rule: the recipe's selection rule.
        metrics: the selection score by scale percent, in [-1, 1].
        choice: the rule's choice among them.
    """
    return choice.value if isinstance(rule, LambdaSelectionConfig) else sum(metrics.values()) / len(metrics)


def choose(
    rule: SelectionConfig,
    metrics: Mapping[int, float],
    teacher_metric: float,
    teacher_percent: int = TEACHER_PERCENT,
    num_chosen: int = 1,
    num_below: int = 0,
) -> Choice:
    """The best chain of assistants by a rule; each one after the first is measured against the one above it.

    Args:
        rule: the recipe's selection rule.
        metrics: the primary selection metric by scale percent.
        teacher_metric: the metric of the model above: the teacher, or an assistant chosen earlier.
        teacher_percent: the scale of the model above.
        num_chosen: assistants in the chain.
        num_below: candidates that must remain below the chain, for assistants chosen later.
    """
    if isinstance(rule, LambdaSelectionConfig):
        tradeoffs = lambda_tradeoff(metrics, rule.lam, teacher_percent)

        def tradeoff_under(above: int, scale: int) -> float:
            return lambda_tradeoff({scale: metrics[scale]}, rule.lam, above)[scale]

    else:
        tradeoffs = negative_derivative(metrics, teacher_metric, teacher_percent, rule.order)

        def tradeoff_under(above: int, scale: int) -> float:  # noqa: ARG001 - the derivative needs only the grid
            return tradeoffs[scale]

    chain = best_chain(tradeoffs, num_chosen, num_below, tradeoff_under)
    rest = sum(tradeoff_under(above, scale) for above, scale in pairwise(chain))
    return Choice(chain, tradeoffs[chain[0]] + rest, tradeoffs)


def scan_lambda(
    step: SandwichStep, history: Sequence[EpochRecord], score: Callable[[Mapping[str, float]], float]
) -> dict[float, tuple[int, int]]:
    """For each value of lambda the epoch of a sandwich that it keeps, and the scale that it chooses there (table 7).

    Nothing is trained: every epoch's metrics are recorded. The epochs are those of this run; with early stopping
    another lambda might have trained for more or fewer.

    Args:
        step: the sandwich.
        history: its epochs.
        score: turns a model's metrics into its selection score.
    """
    found = {}
    for lam in LAMBDA_SCAN:
        choices = {
            record.epoch: choose(
                LambdaSelectionConfig(lam=lam),
                {scale: score(record.metrics[scale]) for scale in step.candidates},
                teacher_metric=0.0,
                num_chosen=step.num_chosen,
                num_below=step.num_below,
            )
            for record in history
        }
        rescored = [record.model_copy(update={"selection_score": choices[record.epoch].value}) for record in history]
        kept = best_epoch(rescored)
        found[lam] = kept, choices[kept].chain[0]
    return found
