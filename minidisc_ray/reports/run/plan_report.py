"""What ``minidisc plan`` prints, as data: lines and tables of text."""

from typing import Any

from rich.console import Console

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.redact import redact
from minidisc_ray.reports.tables import Table, show


class PlanTable(Config):
    """A table of texts; its first ``num_names`` columns are names, the others numbers."""

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

    def show(self, console: Console) -> None:
        """Print the parts, with secrets redacted and without interpreting markup."""
        for part in self.parts:
            if isinstance(part, str):
                console.print(printable(redact(part)), soft_wrap=True, markup=False)
            else:
                show(console, [Table.of_texts(part.columns, part.rows, part.num_names, part.title)])
