"""What ``minidisc plan`` prints, as data: lines and tables of text."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.redact import redact
from minidisc_ray.reports.cells import text_cell


class PlanTable(Config):
    """A table; its first ``num_names`` columns are names, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 1


class PlanReport(Config):
    """A checked recipe in words.

    Attributes:
        name: of the run.
        identity: everything that can change the run's numbers.
        parts: lines and tables, in order.
    """

    name: str
    identity: dict[str, Any]
    parts: tuple[str | PlanTable, ...]

    def renderables(self) -> Iterator[RenderableType]:
        """The parts for a terminal: nothing in them is obeyed as markup, and no secret is left."""
        for part in self.parts:
            yield printable(redact(part)) if isinstance(part, str) else _table(part)


def _table(part: PlanTable) -> Table:
    table = Table(title=part.title, title_justify="left", box=None, pad_edge=False)
    for number, title in enumerate(part.columns):
        table.add_column(title, justify="left" if number < part.num_names else "right")
    for row in part.rows:
        table.add_row(*map(text_cell, row))
    return table
