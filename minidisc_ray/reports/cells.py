"""Cells of tables for terminals and spreadsheets: nothing in a name is obeyed as markup, control or formula."""

from typing import Any

from rich.text import Text

from minidisc_ray.configs.printable import printable

# Wide enough for every column of the comparison: what is no terminal does not wrap.
PIPE_COLUMNS = 160
# In spreadsheets; a tab and a carriage return are passed over before them.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def text_cell(text: str, style: str = "") -> Text:
    """A text for a terminal as it is, in one line: no markup, and no character that a terminal obeys."""
    return Text(printable(text, kept=""), style=style)


def csv_cell(cell: Any) -> Any:
    """A cell as CSV may hold it: a text that no spreadsheet runs and no terminal obeys; all else as it is."""
    if not isinstance(cell, str):
        return cell
    # A line's end that is not quoted would let a cell begin within another one.
    lines = cell.replace("\r\n", "\n").replace("\r", "\n")
    return printable(f"'{lines}" if cell.startswith(_FORMULA_STARTS) else lines)
