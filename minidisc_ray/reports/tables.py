"""One table model, and its writers: terminal, Markdown, CSV and JSON; HTML pages render the same model.

Text from recipes and data never acts as markup, control characters or a formula.
"""

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from minidisc_ray.configs.printable import json_text, printable

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "md", "csv", "json"]
Row = dict[str, Any]

# Width where the output is not a terminal: enough for every column of the comparison.
PIPE_COLUMNS = 160
# Spreadsheets run text with such a start as a formula; they skip a tab or carriage return before it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Cell(NamedTuple):
    """A value, by which pages sort, and its text."""

    value: Any
    text: str


@dataclass(frozen=True)
class Column:
    """One column: which value of a row it shows, and how.

    Attributes:
        heading: its title.
        value: a key or an attribute of the row, or a function of the row.
        text: formats a value; None becomes an empty text.
        unit: appended to every text that is not empty.
        is_number: numbers are aligned right.
        priority: on a narrow terminal columns with the largest priority are dropped first, those with 0 never.
        can_wrap: whether its texts may wrap.
        wraps_at: a width from which its texts wrap before any column is dropped; None: they never do.
        styles: on a terminal, the Rich style of each value.
    """

    heading: str
    value: str | Callable[[Any], Any]
    text: Callable[[Any], str] = str
    unit: str = ""
    is_number: bool = True
    priority: int = 0
    can_wrap: bool = True
    wraps_at: int | None = None
    styles: Mapping[Any, str] | None = None

    def cell(self, row: Any) -> Cell:
        """The row's value and text."""
        if callable(self.value):
            value = self.value(row)
        else:
            value = row[self.value] if isinstance(row, Mapping) else getattr(row, self.value)
        text = "" if value is None else self.text(value)
        return Cell(value, f"{text}{self.unit}" if text else "")


@dataclass(frozen=True)
class Table:
    """Rows, the columns that show them, and notes.

    Attributes:
        title: a line above the headings; empty for none.
        columns: empty for a title or notes alone.
        rows: mappings, or objects with the attributes that columns name.
        notes: printed below; the notes of several tables follow the last table.
        is_marked: whether a row is highlighted.
    """

    title: str = ""
    columns: tuple[Column, ...] = ()
    rows: Sequence[Any] = ()
    notes: Sequence[str] = ()
    is_marked: Callable[[Any], bool] = lambda _: False

    @classmethod
    def of_texts(
        cls, headings: Sequence[str], rows: Sequence[Sequence[str]], num_names: int, title: str = ""
    ) -> "Table":
        """A table of ready texts; the first ``num_names`` columns are names, the others numbers."""
        columns = (
            Column(heading, itemgetter(place), is_number=place >= num_names) for place, heading in enumerate(headings)
        )
        return cls(title, tuple(columns), rows)

    @property
    def cells(self) -> list[list[Cell]]:
        """The cells of each row."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]


def write(
    format: Format,  # noqa: A002 the option's name
    tables: Sequence[Table],
    records: Sequence[Row],
    width: int | None = None,
    document: Any = None,
    names: Sequence[str] = (),
) -> str:
    """Write tables as text, or the records behind them as CSV or JSON.

    Args:
        format: ``table`` and ``md`` write the tables, rounded, with notes; ``csv`` and ``json`` the records, in full.
        tables: for ``table`` and ``md``.
        records: for ``csv`` and ``json``, values by column name.
        width: in characters, for ``table``; the terminal's by default.
        document: written as ``json`` in place of the records.
        names: the header of ``csv`` when there are no records.
    """
    match format:
        case "csv":
            return csv_text(records, names)
        case "json":
            return json_text(list(records) if document is None else document)
        case "md":
            return markdown_text(tables)
        case "table":
            return terminal_text(tables, width)


def records_of(frame: "pd.DataFrame") -> list[Row]:
    """The rows of a frame as plain Python values, None where a cell is empty."""
    return frame.astype(object).where(frame.notna(), None).to_dict(orient="records")  # type: ignore[return-value]


def csv_text(records: Sequence[Row], names: Sequence[str] = ()) -> str:
    """Records as CSV, with an apostrophe before text that a spreadsheet would run as a formula.

    Numbers are unchanged, negative ones too. JSON has every text unchanged.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_csv_cell, records[0] if records else names))
    writer.writerows(map(_csv_cell, record.values()) for record in records)
    return stream.getvalue()


def markdown_text(tables: Sequence[Table]) -> str:
    """Tables as Markdown, with all notes in a list at the end."""
    lines: list[str] = []
    for table in tables:
        lines += [f"**{_escaped(table.title)}**", ""] if table.title else []
        if table.columns:
            lines.append(_markdown_row(column.heading for column in table.columns))
            lines.append(f"| {' | '.join('---:' if column.is_number else ':---' for column in table.columns)} |")
            lines += [*(_markdown_row(cell.text for cell in cells) for cells in table.cells), ""]
    lines += [f"- {_escaped(note)}" for table in tables for note in table.notes]
    return "\n".join(lines) + "\n"


def terminal_text(tables: Sequence[Table], width: int | None = None) -> str:
    """Tables as ``show`` prints them, without colours, as wide as the terminal unless a width is given."""
    stream = io.StringIO()
    width = width or shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns
    # The text may go into a pipe: no colours, even where FORCE_COLOR is set.
    show(Console(file=stream, width=width, force_terminal=False, color_system=None), tables)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def show(console: Console, tables: Sequence[Table]) -> None:
    """Print tables, then their notes; columns that do not fit are dropped by priority and named at the end."""
    left_out: list[str] = []
    for table in tables:
        if table.title:
            console.print(text_cell(table.title, "bold"))
        if table.columns:
            fitting = fitted(table, console.width)
            left_out += [column.heading for column in table.columns if column not in fitting.columns]
            console.print(rich_table(fitting))
        if table.title:
            console.print()
    for note in (note for table in tables for note in table.notes):
        console.print(text_cell(note))
    if left_out:
        names = ", ".join(dict.fromkeys(left_out))
        console.print(text_cell(f"Left out at this width: {names}; csv and json have them."))


def rich_table(table: Table, is_measured: bool = False) -> RichTable:
    """The table for a terminal, without its title and notes; to be measured, long texts have the width they wrap at."""
    rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in table.columns:
        # Break a heading after its first word, so that numbers set the column's width.
        heading = Text(printable(column.heading).replace("-hours", "-\nhours").replace(" ", "\n", 1))
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        width = column.wraps_at if is_measured else None
        rich.add_column(heading, justify=justify, overflow="fold", no_wrap=not column.can_wrap, max_width=width)
    for row, cells in zip(table.rows, table.cells, strict=True):
        styles = [(column.styles or {}).get(cell.value, "") for column, cell in zip(table.columns, cells, strict=True)]
        texts = [text_cell(cell.text, style) for cell, style in zip(cells, styles, strict=True)]
        rich.add_row(*texts, style="bold" if table.is_marked(row) else None)
    return rich


def text_cell(text: str, style: str = "") -> Text:
    """Text for one line of a terminal: markup is not interpreted, and control characters are escaped."""
    return Text(printable(text, kept=""), style=style)


def fitted(table: Table, width: int) -> Table:
    """The table without the columns that do not fit the width."""
    console = Console(file=io.StringIO(), width=10_000)
    while console.measure(rich_table(table, is_measured=True)).maximum > width:
        largest = max(column.priority for column in table.columns)
        if largest == 0:
            break
        # The rightmost of those with the same priority.
        dropped = max(index for index, column in enumerate(table.columns) if column.priority == largest)
        table = replace(table, columns=(*table.columns[:dropped], *table.columns[dropped + 1 :]))
    return table


def _csv_cell(cell: Any) -> Any:
    """Text made safe for spreadsheets and terminals; any other value unchanged."""
    if not isinstance(cell, str):
        return cell
    # The csv module does not quote a lone carriage return, and readers would end the row there.
    lines = cell.replace("\r\n", "\n").replace("\r", "\n")
    return printable(f"'{lines}" if cell.startswith(_FORMULA_STARTS) else lines)


def _markdown_row(texts: Any) -> str:
    return f"| {' | '.join(map(_escaped, texts))} |"


def _escaped(text: str) -> str:
    return printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
