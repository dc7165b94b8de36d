"""A comparison for the terminal, for a document or for another program."""

import io
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minidisc_ray.configs.printable import json_text, printable
from minidisc_ray.reports.cells import PIPE_COLUMNS, csv_cell, text_cell
from minidisc_ray.reports.comparison.columns import Column, Row, Section, by_task, records, sections, step_ratios
from minidisc_ray.reports.comparison.table import TEACHER

Format = Literal["table", "md", "csv", "json"]


def render(frame: pd.DataFrame, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write what ``compare`` found: csv and json in full precision, table and md rounded and with footnotes.

    Args:
        frame: the comparison.
        format: what to write.
        width: columns of the terminal, for ``table`` alone; by default the terminal's own.
    """
    return written(format, frame, records(frame), sections(frame), footnotes(frame), width)


def written(
    format: Format,  # noqa: A002 the option's name
    frame: pd.DataFrame,
    document: Any,
    found: Sequence[Section],
    notes: Sequence[str],
    width: int | None,
) -> str:
    """A table in one of the formats: the frame as csv, the document as json, the sections with their notes else."""
    match format:
        case "csv":
            return csv_text(frame)
        case "json":
            return json_text(document)
        case "md":
            return markdown_text(found, notes)
        case "table":
            return terminal_text(found, notes, width)


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV; a text that a spreadsheet would take for a formula stands behind an apostrophe.

    So a program that opens the file shows it, and does not run it. Numbers stay as they are, negative ones too; json
    has every text as it was given.
    """
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    shown = frame.assign(**{name: frame[name].map(csv_cell, na_action="ignore") for name in texts})
    return shown.rename(columns=csv_cell).to_csv(index=False, lineterminator="\n")


def footnotes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table rightly; a warning comes last."""
    rows = records(frame)
    first = rows[0]
    notes = [
        selection_note(first["selection_split"], first["protocol"], bool(frame["metric_std"].notna().any())),
        "Device-hours leave out teacher fine-tuning and start-up: columns of their own, outside the ratio. Ratios are "
        "to the Conventional run of the same recipe and seed, and empty where there is none. FLOPs ratios are of "
        "training and evaluation together.",
        "MACs: multiply-adds of one row of 128 tokens. Encoder parameters are what the scale prunes; total adds the "
        "embeddings and the rest.",
    ]
    notes += majority_notes(
        [(row["task"], row["metric_name"], row["majority_of"]) for row in rows if row["majority_of"]]
    )
    notes += _uncounted(rows)
    notes += _fewer_seeds(rows)
    if any(row["lost_device_hours"] for row in rows):
        notes.append(
            "Lost hours: what attempts that failed or were killed did after their last checkpoint, and others did "
            "again. They are in the device-hours and in their ratio."
        )
    if any(row["price"] is not None for row in rows):
        notes.append(
            "Price: of all that was held, lost hours and start-up with it; teacher fine-tuning is left out of it too."
        )
    if any(step_ratios(of_task) for of_task in by_task(rows)):
        notes.append(
            "Step time and step memory: the median step of the student's distillation, and what its largest step adds "
            "at the peak, relative to LTSD with the same method, student and seed. The teacher's forward pass is in "
            "them only where its outputs are not cached: compute.teacher_cache_gib=0 puts it into every step."
        )
    warned = [row for row in rows if row["teacher_warning"]]
    for row in warned:
        which = "" if row["method"] == TEACHER else f", {row['method']}:"
        notes.append(f"On {row['task']}{which} {row['teacher_warning']}.")
    if bool(frame["teacher_may_have_seen_selection"].any()):
        notes.append(seen_warning([row["task"] for row in rows if row["teacher_may_have_seen_selection"]]))
    return notes


def majority_notes(found: Sequence[tuple[str, str, str]]) -> list[str]:
    """What the majority row is.

    Args:
        found: each task with its metric, and whose commonest class it is.
    """
    own = [(task, metric) for task, metric, whose in found if whose != "train"]
    older = ", ".join(dict.fromkeys(task for task, _, whose in found if whose == "train"))
    kinds = [metric in ("spearman", "pearson") for _, metric in own]
    notes = []
    if not all(kinds):
        notes.append("Majority class: always giving the commonest class of the rows that the score is on.")
    if any(kinds):
        notes.append("Majority of a regression: always giving train's mean value.")
    if older:
        notes.append(f"Majority class of {older}: train's commonest class, as older results have it.")
    return notes


def _uncounted(rows: list[Row]) -> list[str]:
    methods = [
        row["method"] for row in rows if row["training_flops_ratio"] is not None and row["evaluation_flops"] is None
    ]
    if not methods:
        return []
    return [
        f"Evaluation was not counted in older results ({', '.join(dict.fromkeys(methods))}): a FLOPs ratio with one of "
        "them is of training alone."
    ]


def _fewer_seeds(rows: list[Row]) -> Iterator[str]:
    """Which ratios rest on fewer seeds than the means beside them: means divided would contradict those."""
    for of_task in by_task(rows):
        of_seeds: dict[str, list[str]] = {}
        for row in of_task:
            if row["ratio_seeds"]:
                names = of_seeds.setdefault(row["ratio_seeds"], [])
                names += [row["method"]] if row["method"] not in names else []
        for seeds, names in of_seeds.items():
            those = f"seeds {seeds}, which" if "," in seeds else f"seed {seeds}, the only one that"
            yield (
                f"On {of_task[0]['task']} ratios of {', '.join(names)} are over {those} both rows have; hours and "
                "FLOPs beside them are means over each row's own seeds, so that their quotients are others."
            )


def selection_note(split: str, protocol: str, has_deviations: bool) -> str:
    """Which rows selected, which score, and what a score is a mean of."""
    note = f"Selected on: {split}. Scores are of the validation rows, in percent"
    note += ", mean ± sample standard deviation over seeds." if has_deviations else "."
    if protocol == "paper":
        note += " The rows that selected are the rows that score, as in the papers: scores are optimistic."
    return note


def seen_warning(tasks: list[str]) -> str:
    """The warning that a teacher may have been trained on the rows that selected."""
    return (
        f"Warning: on {', '.join(dict.fromkeys(tasks))} the teacher may have seen the rows that selected while it was "
        "trained, so what was chosen on them may be flattered."
    )


def terminal_text(found: Sequence[Section], notes: Sequence[str], width: int | None = None) -> str:
    """Tables with their notes below them, as wide as the terminal unless a width is given."""
    width = width or shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns
    stream = io.StringIO()
    # Names are text, never markup; a pipe must not receive colours, whatever the environment asks for.
    console = Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, force_terminal=False, color_system=None
    )
    left_out: list[str] = []
    for section in found:
        console.print(text_cell(section.title, "bold"))
        if section.columns:
            columns = _that_fit(section, width)
            left_out += [column.heading for column in section.columns if column not in columns]
            console.print(_table(columns))
        console.print()
    for note in notes:
        console.print(text_cell(note))
    if left_out:
        console.print(
            Text(
                f"Left out at this width: {', '.join(map(printable, dict.fromkeys(left_out)))}; csv and json have them."
            )
        )
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def _that_fit(section: Section, width: int) -> tuple[Column, ...]:
    columns = section.columns
    measuring = Console(file=io.StringIO(), width=10_000)
    while measuring.measure(_table(columns)).maximum > width:
        last = max(column.priority for column in columns)
        if last == 0:
            break
        # Of equals the rightmost goes first.
        gone = max(index for index, column in enumerate(columns) if column.priority == last)
        columns = (*columns[:gone], *columns[gone + 1 :])
    return columns


def _table(columns: tuple[Column, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for column in columns:
        # Headings of two words stand on two lines, so that numbers set the width.
        heading = Text(printable(column.heading).replace("-hours", "-\nhours").replace(" ", "\n", 1))
        table.add_column(heading, justify="right" if column.is_number else "left", overflow="fold")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(text_cell, cells))
    return table


def markdown_text(found: Sequence[Section], notes: Sequence[str]) -> str:
    """The same for a document."""
    lines: list[str] = []
    for section in found:
        lines += [f"**{_escaped(section.title)}**", ""]
        if section.columns:
            lines.append(_markdown_row([_escaped(column.heading) for column in section.columns]))
            lines.append(_markdown_row(["---:" if column.is_number else ":---" for column in section.columns]))
            rows = zip(*(column.cells for column in section.columns), strict=True)
            lines += [*(_markdown_row([_escaped(cell) for cell in cells]) for cells in rows), ""]
    lines += [f"- {_escaped(note)}" for note in notes]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
