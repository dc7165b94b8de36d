"""How often the method's own assumptions held in the runs of a study."""

from collections.abc import Sequence
from dataclasses import dataclass

from minidisc_ray.evaluation.assumptions import Share, num_falls, num_maxima, share_of
from minidisc_ray.study.answers import FinishedRun

# Two candidates have one maximum whatever they are.
_FEWEST_CANDIDATES = 3


@dataclass(frozen=True)
class Assumptions:
    """Of one method's runs, over all tasks, scales and seeds.

    Attributes:
        method: its name in the study.
        one_maximum: runs whose λ-tradeoff has one maximum over the candidates (MiniDisc, section 3.2).
        falling_pairs: neighbouring candidates of which the larger one scores less (they break property 2).
    """

    method: str
    one_maximum: Share
    falling_pairs: Share


def assumptions_of(runs: Sequence[FinishedRun]) -> tuple[Assumptions, ...]:
    """One entry for each method that tried enough candidates, in the order of the runs; each run counts once."""
    by_method: dict[str, dict[str, FinishedRun]] = {}
    for run in runs:
        if len(run.result.candidates) >= _FEWEST_CANDIDATES:
            by_method.setdefault(run.cell.method, {})[run.result.name] = run
    found = []
    for method, named in by_method.items():
        grids = [sorted(run.result.candidates, key=lambda one: one.scale_percent) for run in named.values()]
        singles = sum(num_maxima([one.lambda_tradeoff for one in grid]) == 1 for grid in grids)
        falls = sum(num_falls([one.metric for one in grid]) for grid in grids)
        pairs = sum(len(grid) - 1 for grid in grids)
        found.append(Assumptions(method, share_of(singles, len(grids)), share_of(falls, pairs)))
    return tuple(found)
