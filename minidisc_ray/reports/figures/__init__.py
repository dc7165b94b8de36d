"""Pictures of runs: what assistants trade off, what each layer keeps, what methods cost and what that buys.

Each file draws one figure, from plain data that it takes out of results. Nothing here opens a window or touches
matplotlib's global figures.
"""

from collections.abc import Sequence
from dataclasses import replace

from minidisc_ray.reports.figures._base import Drawing
from minidisc_ray.reports.figures._svg import data_uri, write_figures
from minidisc_ray.reports.figures.accuracy import accuracy_drawings
from minidisc_ray.reports.figures.assistants import assistants_drawings
from minidisc_ray.reports.figures.cost import cost_drawings
from minidisc_ray.reports.figures.structure import structure_drawings
from minidisc_ray.reports.figures.tradeoff import tradeoff_drawings
from minidisc_ray.run_files.result import RunResult

__all__ = ["Drawing", "data_uri", "drawings_of", "write_figures"]


def drawings_of(results: Sequence[RunResult], structures_of: Sequence[RunResult] | None = None) -> list[Drawing]:
    """Every figure that runs have data for, by a name that is fit to be a file's, with its caption.

    Figures are of one task and one student scale each, and of runs whose scores may stand side by side.

    Args:
        results: the runs; the same one counts once.
        structures_of: the runs whose kept heads and neurons are drawn; all of them by default.
    """
    runs = [run for place, run in enumerate(results) if run not in results[:place]]
    drawings = [
        *tradeoff_drawings(runs),
        *assistants_drawings(runs),
        *structure_drawings(runs if structures_of is None else structures_of),
        *cost_drawings(runs),
        *accuracy_drawings(runs),
    ]
    taken: set[str] = set()
    for place, drawing in enumerate(drawings):
        name, number = drawing.name, 1
        while name in taken:
            number += 1
            name = f"{drawing.name}-{number}"
        taken.add(name)
        if name != drawing.name:
            drawings[place] = replace(drawing, name=name)
    return drawings
