"""A study's table as text, Markdown, CSV and JSON."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from minidisc_ray.configs.study.base import AVERAGE, COST, FLOPS, SEARCH_COLUMNS
from minidisc_ray.reports.study.paper import size_text
from minidisc_ray.reports.study.table import Block, StudyRow, StudyTable
from minidisc_ray.reports.tables import Column, Format, Table, records_of, write
from minidisc_ray.reports.words import count_text, parameters_text, ratio_text, seeds_text

_HEADINGS = {"conventional": "Conventional distillation", "assistant": "Teacher assistant-based distillation"}
# A heading, a row, or the paper's figures for the row above.
Line = str | StudyRow | dict[str, float]


def render_study(table: StudyTable, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write a study's table: csv and json in full precision, table and md rounded and with notes.

    Args:
        table: of a study.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    tables = [*study_tables(table), *table.settings_tables, Table(notes=table.notes)]
    return write(format, tables, records_of(study_frame(table)), width, study_document(table))


def study_document(table: StudyTable) -> dict[str, Any]:
    """A study's table as a JSON object, in full precision; ``grid`` only of a study with one."""
    return {
        "study": table.name,
        "title": table.title,
        "budget": table.budget,
        "rows": records_of(study_frame(table)),
        "notes": list(table.notes),
        "failed": table.failed,
        "unfinished": list(table.unfinished),
        **({"grid": list(table.settings)} if table.settings else {}),
    }


def study_frame(table: StudyTable) -> pd.DataFrame:
    """A frame with a row for each row of the table; scores are shares, the paper's figures percents as printed."""
    frame = pd.DataFrame([_record(table, block, row) for block in table.blocks for row in block.rows])
    whole = [name for name in frame.columns if name == "student_scale_percent" or name.endswith("_seeds")]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def study_tables(table: StudyTable) -> list[Table]:
    """A table for each teacher."""
    return [_table(table, block) for block in table.blocks]


def _table(table: StudyTable, block: Block) -> Table:
    title = [
        table.title,
        block.name,
        f"teacher of {size_text(block.teacher)}" if block.teacher is not None else None,
        f"budget {table.budget}" if table.budget is not None else None,
        seeds_text(table.num_seeds),
    ]
    columns = [
        Column("Method", _label, is_number=False),
        Column("MACs", _of(lambda row: count_text(row.macs_at_128), FLOPS, lambda figure: f"{figure:g}G"), priority=1),
        Column("Encoder params", _of(lambda row: parameters_text(row.encoder_parameters)), priority=3),
        Column("Total params", _of(lambda row: parameters_text(row.total_parameters)), priority=3),
        *(Column(column.title, _score(column.key)) for column in block.columns),
        *([Column("Average", _of(lambda row: row.average.text, AVERAGE))] if len(block.columns) > 1 else []),
        Column("Hours ratio", _of(lambda row: ratio_text(row.device_hours_ratio), COST, ratio_text)),
        Column("FLOPs ratio", _of(lambda row: ratio_text(row.flops_ratio)), priority=1),
        *(_SEARCH_COLUMNS if table.settings else ()),
    ]
    return Table(" · ".join(part for part in title if part is not None), tuple(columns), list(_lines(block)))


def _of(
    ours: Callable[[StudyRow], str], key: str = "", printed: Callable[[float], str] = lambda figure: f"{figure:.1f}"
) -> Callable[[Line], str]:
    """A column's text of each line: ``ours`` of a row, below it the paper's figure of ``key``, of headings none."""

    def text(line: Line) -> str:
        match line:
            case StudyRow():
                return ours(line)
            case dict() if key in line:
                return printed(line[key])
        return ""

    return text


_SEARCH_COLUMNS = (
    Column("Search hours", _of(lambda row: ratio_text(row.search_device_hours_ratio)), priority=1),
    Column("Search FLOPs", _of(lambda row: ratio_text(row.search_flops_ratio)), priority=1),
)


def _score(key: str) -> Callable[[Line], str]:
    return _of(lambda row: row.scores[key].text, key)


def _label(line: Line) -> str:
    return line.label if isinstance(line, StudyRow) else line if isinstance(line, str) else "  paper"


def _lines(block: Block) -> Iterator[Line]:
    """Headings and rows, each row followed by the paper's figures for it."""
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
    if table.settings:
        record |= {name: getattr(row, name) for name in SEARCH_COLUMNS}
    record |= {f"paper_{key}": value for key, value in (row.printed or {}).items()}
    return record | {"runs": " ".join(row.runs)}
