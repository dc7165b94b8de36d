"""The settings of the runs whose findings are looked at, and a section of the page about them."""

from typing import Any

from minidisc_ray.evaluation.intervals import Resampling
from minidisc_ray.reports.study.findings import finding_tables
from minidisc_ray.study.findings import Findings

GRID = [60, 40, 20]

FEW = Resampling(num_replicates=200)

METHODS: dict[str, Any] = {
    "LTSD": {"schedule": {"kind": "conventional"}},
    "matched": {"schedule": {"kind": "conventional", "match": {"kind": "minidisc", "scales": GRID, "num_sampled": 2}}},
    "TA": {"schedule": {"kind": "assistant", "assistant_percent": 40}},
    "MiniDisc": {"schedule": {"scales": GRID}},
    "MaxiDisc": {"schedule": {"kind": "maxidisc", "scales": GRID}},
    "with tradeoff": {"schedule": {"kind": "maxidisc", "scales": GRID, "selection": {"kind": "lambda"}}},
}


def section(findings: Findings, title: str, num_seeds: int = 2) -> dict[str, tuple[str, ...]]:
    """Its columns, by heading."""
    found = next(each for each in finding_tables(findings, num_seeds) if each.title == title)
    texts = zip(*found.cells, strict=True)
    return {
        column.heading: tuple(cell.text for cell in cells) for column, cells in zip(found.columns, texts, strict=True)
    }
