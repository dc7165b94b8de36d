"""Figures of runs: trade-off of assistants, learning curves, layers, cost by stage, score against cost, gains.

Each file draws one kind of figure, from plain data that it reads from results. No window is opened, and pyplot's
global figures are not used.
"""

from collections.abc import Sequence
from dataclasses import replace

from minidisc_ray.reports.figures._base import Drawing
from minidisc_ray.reports.figures._svg import data_uri, write_figures
from minidisc_ray.reports.figures.accuracy import accuracy_drawings
from minidisc_ray.reports.figures.assistants import assistants_drawings
from minidisc_ray.reports.figures.cost import cost_drawings
from minidisc_ray.reports.figures.gains import gain_drawings
from minidisc_ray.reports.figures.learning import learning_drawings
from minidisc_ray.reports.figures.structure import structure_drawings
from minidisc_ray.reports.figures.tradeoff import tradeoff_drawings
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.findings import Finding
from minidisc_ray.study.gains import Gain, GainTrend

__all__ = ["Drawing", "data_uri", "drawings_of", "learning_drawings", "write_figures"]


def drawings_of(
    results: Sequence[RunResult],
    structures_of: Sequence[RunResult] | None = None,
    gains: Sequence[Gain] = (),
    gain_trends: Sequence[GainTrend] = (),
    over_conventional: Sequence[Finding] = (),
) -> list[Drawing]:
    """Draw every figure that the runs have data for, each with a unique file name.

    A figure shows one task and one student scale, and only runs whose scores can be compared.

    Args:
        results: the runs; duplicates are dropped.
        structures_of: the runs whose kept heads and neurons are drawn; all by default.
        gains: of a study's assistants.
        gain_trends: of these gains.
        over_conventional: the mean of the same gains on each task, with intervals.
    """
    runs = [run for place, run in enumerate(results) if run not in results[:place]]
    drawings = [
        *tradeoff_drawings(runs),
        *assistants_drawings(runs),
        *structure_drawings(runs if structures_of is None else structures_of),
        *cost_drawings(runs),
        *accuracy_drawings(runs),
        *gain_drawings(gains, gain_trends, over_conventional),
    ]
    taken: set[str] = set()
    for place, drawing in enumerate(drawings):
        name, number = drawing.name, 1
        while name in taken:
            number += 1
            name = f"{drawing.name}-{number}"
        taken.add(name)
        drawings[place] = replace(drawing, name=name)
    return drawings
