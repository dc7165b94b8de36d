"""One table, and its writers: for a terminal, a document, a spreadsheet and another program; pages show it too.

Nothing in a text is obeyed as markup, control character or formula.
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

# Wide enough for every column of the comparison: what is no terminal does not wrap.
PIPE_COLUMNS = 160
# In spreadsheets; a tab and a carriage return are passed over before them.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Cell(NamedTuple):
    """A value, by which a page sorts, and its text for people."""

    value: Any
    text: str


@dataclass(frozen=True)
class Column:
    """How people read one value of each row.

    Attributes:
        heading: above the column.
        value: its name in a row, or a function of the row.
        text: of a value; a missing one is empty.
        unit: behind every text.
        is_number: numbers stand to the right.
        priority: where there is no room columns of the largest go first, those of 0 never.
        can_wrap: whether a text may be broken.
        styles: on a terminal, by value.
    """

    heading: str
    value: str | Callable[[Any], Any]
    text: Callable[[Any], str] = str
    unit: str = ""
    is_number: bool = True
    priority: int = 0
    can_wrap: bool = True
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
    """Rows as people read them.

    Attributes:
        title: a line above the headings; empty for none.
        columns: none where the title says everything.
        rows: mappings or objects that have what the columns name.
        notes: what a reader must know; they stand below the last one of several tables.
        is_marked: whether a row stands out.
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
        """Of texts as they are; the first ``num_names`` columns are names, the others numbers."""
        columns = (
            Column(heading, itemgetter(place), is_number=place >= num_names) for place, heading in enumerate(headings)
        )
        return cls(title, tuple(columns), rows)

    @property
    def cells(self) -> list[list[Cell]]:
        """Row by row."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]


def write(
    format: Format,  # noqa: A002 the option's name
    tables: Sequence[Table],
    records: Sequence[Row],
    width: int | None = None,
    document: Any = None,
    names: Sequence[str] = (),
) -> str:
    """The tables for people, or what they are made of for machines.

    Args:
        format: ``table`` and ``md`` are rounded and have notes, ``csv`` and ``json`` full precision.
        tables: for people.
        records: for machines, by name.
        width: columns of the terminal, for ``table`` alone; by default the terminal's own.
        document: what ``json`` holds in place of the records.
        names: of the columns of ``csv`` where there is no record.
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
    """Records as CSV; a text that a spreadsheet would take for a formula stands behind an apostrophe.

    So a program that opens the file shows it, and does not run it. Numbers stay as they are, negative ones too; json
    has every text as it was given.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_csv_cell, records[0] if records else names))
    writer.writerows(map(_csv_cell, record.values()) for record in records)
    return stream.getvalue()


def markdown_text(tables: Sequence[Table]) -> str:
    """Tables for a document, their notes as a list."""
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
    # A pipe must not receive colours, whatever the environment asks for.
    show(Console(file=stream, width=width, force_terminal=False, color_system=None), tables)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def show(console: Console, tables: Sequence[Table]) -> None:
    """Print tables with their notes below them; columns that do not fit are left out by their priority, and named."""
    left_out: list[str] = []
    for table in tables:
        if table.title:
            console.print(text_cell(table.title, "bold"))
        if table.columns:
            fitting = _fitted(table, console.width)
            left_out += [column.heading for column in table.columns if column not in fitting.columns]
            console.print(rich_table(fitting))
        if table.title:
            console.print()
    for note in (note for table in tables for note in table.notes):
        console.print(text_cell(note))
    if left_out:
        names = ", ".join(dict.fromkeys(left_out))
        console.print(text_cell(f"Left out at this width: {names}; csv and json have them."))


def rich_table(table: Table) -> RichTable:
    """Headings and rows for a terminal."""
    found = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in table.columns:
        # Headings of two words stand on two lines, so that numbers set the width.
        heading = Text(printable(column.heading).replace("-hours", "-\nhours").replace(" ", "\n", 1))
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        found.add_column(heading, justify=justify, overflow="fold", no_wrap=not column.can_wrap)
    for row, cells in zip(table.rows, table.cells, strict=True):
        styles = [(column.styles or {}).get(cell.value, "") for column, cell in zip(table.columns, cells, strict=True)]
        texts = [text_cell(cell.text, style) for cell, style in zip(cells, styles, strict=True)]
        found.add_row(*texts, style="bold" if table.is_marked(row) else None)
    return found


def text_cell(text: str, style: str = "") -> Text:
    """A text for a terminal as it is, in one line: no markup, and no character that a terminal obeys."""
    return Text(printable(text, kept=""), style=style)


def _fitted(table: Table, width: int) -> Table:
    measuring = Console(file=io.StringIO(), width=10_000)
    while measuring.measure(rich_table(table)).maximum > width:
        last = max(column.priority for column in table.columns)
        if last == 0:
            break
        # Of equals the rightmost goes first.
        gone = max(index for index, column in enumerate(table.columns) if column.priority == last)
        table = replace(table, columns=(*table.columns[:gone], *table.columns[gone + 1 :]))
    return table


def _csv_cell(cell: Any) -> Any:
    """A cell as CSV may hold it: a text that no spreadsheet runs and no terminal obeys; all else as it is."""
    if not isinstance(cell, str):
        return cell
    # A line's end that is not quoted would let a cell begin within another one.
    lines = cell.replace("\r\n", "\n").replace("\r", "\n")
    return printable(f"'{lines}" if cell.startswith(_FORMULA_STARTS) else lines)


def _markdown_row(texts: Any) -> str:
    return f"| {' | '.join(map(_escaped, texts))} |"


def _escaped(text: str) -> str:
    return printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
