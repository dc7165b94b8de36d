"""Which assistants a trial chooses: the rule of a recipe, applied to candidates' metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from minidisc_ray.configs.schedule import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.tradeoff import LAMBDA_SCAN, best_chain, lambda_tradeoff, negative_derivative
from minidisc_ray.schedules.plan import SandwichStep
from minidisc_ray.training.state import EpochRecord, best_epoch


@dataclass(frozen=True)
class Choice:
    """Assistants chosen together, largest first.

    Attributes:
        chain: their scales in percent.
        value: the sum of their trade-offs.
        tradeoffs: of every candidate, under the teacher.
    """

    chain: tuple[int, ...]
    value: float
    tradeoffs: dict[int, float]


def epoch_value(rule: SelectionConfig, metrics: Mapping[int, float], choice: Choice) -> float:
    """What an epoch of a sandwich is judged by: the trade-off of its choice, or the candidates' mean metric.

    The negative derivative only chooses, once an epoch is kept. It is large where neighbours disagree, so that by it
    the noisiest epoch would be the best one.

    Args:
        rule: of the recipe.
        metrics: the selection score by scale percent, in [-1, 1].
        choice: what the rule chooses among them.
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
    """The best chain of assistants by a rule; its second and later ones are measured under the one above them.

    Args:
        rule: of the recipe.
        metrics: the primary selection metric by scale percent.
        teacher_metric: that of the model above: the teacher, or an assistant that was chosen before.
        teacher_percent: its scale.
        num_chosen: assistants in the chain.
        num_below: candidates that must be left under it, for assistants that are chosen later.
    """
    if isinstance(rule, LambdaSelectionConfig):
        tradeoffs = lambda_tradeoff(metrics, rule.lam, teacher_percent)

        def below(above: int, scale: int) -> float:
            return lambda_tradeoff({scale: metrics[scale]}, rule.lam, above)[scale]

    else:
        tradeoffs = negative_derivative(metrics, teacher_metric, teacher_percent, rule.order)

        def below(above: int, scale: int) -> float:  # noqa: ARG001 - the grid's own derivative, whatever stands above
            return tradeoffs[scale]

    chain = best_chain(tradeoffs, num_chosen, num_below, below)
    rest = sum(below(above, scale) for above, scale in pairwise(chain))
    return Choice(chain, tradeoffs[chain[0]] + rest, tradeoffs)


def scan_lambda(
    step: SandwichStep, history: Sequence[EpochRecord], score: Callable[[Mapping[str, float]], float]
) -> dict[float, tuple[int, int]]:
    """For each value of lambda the epoch of a sandwich that it keeps, and the scale that it chooses there (table 7).

    It needs no training, as every epoch's metrics are recorded. Which epochs there are is up to the run: with early
    stopping another value might have trained for longer, or not as long.

    Args:
        step: the sandwich.
        history: its epochs.
        score: from a model's metrics to what choices use.
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
        judged = [record.model_copy(update={"selection_score": choices[record.epoch].value}) for record in history]
        kept = best_epoch(judged)
        found[lam] = kept, choices[kept].chain[0]
    return found
