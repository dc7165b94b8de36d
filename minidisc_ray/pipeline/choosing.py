"""Which assistants a trial chooses: the rule of a recipe, applied to candidates' metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from minidisc_ray.configs.schedule import LambdaSelectionConfig, SelectionConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.tradeoff import best_chain, lambda_tradeoff, negative_derivative


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
        tradeoffs = negative_derivative(metrics, teacher_metric, teacher_percent)

        def below(above: int, scale: int) -> float:  # noqa: ARG001 - the grid's own derivative, whatever stands above
            return tradeoffs[scale]

    chain = best_chain(tradeoffs, num_chosen, num_below, below)
    rest = sum(below(above, scale) for above, scale in pairwise(chain))
    return Choice(chain, tradeoffs[chain[0]] + rest, tradeoffs)
