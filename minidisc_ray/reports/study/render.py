"""A study's table for the terminal, for a document or for another program."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from minidisc_ray.configs.study.base import AVERAGE, COST, FLOPS
from minidisc_ray.reports.comparison.columns import Column, Section, records
from minidisc_ray.reports.comparison.render import Format, written
from minidisc_ray.reports.study.paper import size_text
from minidisc_ray.reports.study.table import Block, StudyRow, StudyTable
from minidisc_ray.reports.words import count_text, ratio_text

_HEADINGS = {"conventional": "Conventional distillation", "assistant": "Teacher assistant-based distillation"}
_PAPER_LINE = "  paper"
# A heading, a row, or what the paper printed for the row above.
Line = str | StudyRow | dict[str, float]


def render_study(table: StudyTable, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write a study's table: csv and json in full precision, table and md rounded and with notes.

    Args:
        table: of a study.
        format: what to write.
        width: columns of the terminal, for ``table`` alone; by default the terminal's own.
    """
    frame = study_frame(table)
    document = {
        "study": table.name,
        "title": table.title,
        "budget": table.budget,
        "rows": records(frame),
        "notes": list(table.notes),
        "failed": table.failed,
        "unfinished": list(table.unfinished),
    }
    return written(format, frame, document, study_sections(table), table.notes, width)


def study_frame(table: StudyTable) -> pd.DataFrame:
    """A row for each row of the table; scores are shares, the paper's figures percents as printed."""
    frame = pd.DataFrame([_record(table, block, row) for block in table.blocks for row in block.rows])
    for column in frame.columns:
        if column == "student_scale_percent" or column.endswith("_seeds"):
            frame[column] = frame[column].astype("Int64")
    return frame


def study_sections(table: StudyTable) -> list[Section]:
    """The table as text, a section for each teacher."""
    return [_section(table, block) for block in table.blocks]


def _section(table: StudyTable, block: Block) -> Section:
    title = [table.title]
    if block.name is not None:
        title.append(block.name)
    if block.teacher is not None:
        title.append(f"teacher of {size_text(block.teacher)}")
    if table.budget is not None:
        title.append(f"budget {table.budget}")
    title.append(f"{table.num_seeds} seed{'s' if table.num_seeds != 1 else ''}")
    lines = list(_lines(block))

    def column(
        heading: str,
        ours: Callable[[StudyRow], str],
        papers: Callable[[dict[str, float]], str] | None = None,
        priority: int = 0,
    ) -> Column:
        def text(line: Line) -> str:
            match line:
                case StudyRow():
                    return ours(line)
                case dict() if papers is not None:
                    return papers(line)
            return ""

        return Column(heading, tuple(map(text, lines)), priority)

    def score(heading: str, key: str) -> Column:
        def ours(row: StudyRow) -> str:
            return row.average.text if key == AVERAGE else row.scores[key].text

        return column(heading, ours, lambda printed: f"{printed[key]:.1f}" if key in printed else "")

    columns = [
        Column("Method", tuple(map(_label, lines)), is_number=False),
        column(
            "MACs",
            lambda row: count_text(row.macs_at_128),
            lambda printed: f"{printed[FLOPS]:g}G" if FLOPS in printed else "",
            priority=1,
        ),
        column("Encoder params", lambda row: count_text(row.encoder_parameters, "B"), priority=3),
        column("Total params", lambda row: count_text(row.total_parameters, "B"), priority=3),
        *(score(column_.title, column_.key) for column_ in block.columns),
    ]
    if len(block.columns) > 1:
        columns.append(score("Average", AVERAGE))
    columns += [
        column(
            "Hours ratio",
            lambda row: ratio_text(row.device_hours_ratio),
            lambda printed: ratio_text(printed.get(COST)),
        ),
        column("FLOPs ratio", lambda row: ratio_text(row.flops_ratio), priority=1),
    ]
    return Section(" · ".join(title), tuple(columns))


def _label(line: Line) -> str:
    match line:
        case StudyRow():
            return line.label
        case str():
            return line
    return _PAPER_LINE


def _lines(block: Block) -> Iterator[Line]:
    """Headings, rows, and below a row what the paper printed for it."""
    groups = {row.group for row in block.rows}
    heading: str | None = None
    for row in block.rows:
        if groups >= set(_HEADINGS) and row.group in _HEADINGS and heading != row.group:
            heading = row.group
            yield _HEADINGS[row.group]
        yield row
        if row.printed:
            yield row.printed


def _record(table: StudyTable, block: Block, row: StudyRow) -> dict[str, Any]:
    record: dict[str, Any] = {
        "study": table.name,
        "budget": table.budget,
        "teacher": block.name,
        "group": row.group,
        "label": row.label,
        "method": row.method,
        "student_scale_percent": row.scale_percent,
        "encoder_parameters": row.encoder_parameters,
        "total_parameters": row.total_parameters,
        "macs_at_128": row.macs_at_128,
    }
    for key, score in (*row.scores.items(), (AVERAGE, row.average)):
        record |= {key: score.mean, f"{key}_std": score.std, f"{key}_seeds": len(score.values)}
    record["device_hours_ratio"] = row.device_hours_ratio
    record["flops_ratio"] = row.flops_ratio
    record["training_flops_ratio"] = row.training_flops_ratio
    record["evaluation_flops"] = row.evaluation_flops
    record |= {f"paper_{key}": value for key, value in (row.printed or {}).items()}
    return record | {"runs": " ".join(row.runs)}
