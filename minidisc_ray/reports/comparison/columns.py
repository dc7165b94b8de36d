"""A comparison as text: for each task a title, headings and cells; the terminal, Markdown and HTML share them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from minidisc_ray.reports.comparison.table import LTSD, MAJORITY, TEACHER
from minidisc_ray.reports.words import count_text, hours_text, metric_title, percent_text, price_text, ratio_text

_STEP_RATIOS = {"Step time": "step_seconds_ratio", "Step memory": "step_memory_ratio"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of text; where there is no room those of the largest ``priority`` go first, those of 0 never."""

    heading: str
    cells: tuple[str, ...]
    priority: int = 0
    is_number: bool = True


@dataclass(frozen=True)
class Section:
    """One task's rows."""

    title: str
    columns: tuple[Column, ...]


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows as plain Python values, None where a cell is empty."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict(orient="records")]


def sections(frame: pd.DataFrame) -> list[Section]:
    """The comparison of each task; what all its rows share is in the title and not in a column."""
    return [_section(rows) for rows in by_task(records(frame))]


def by_task(rows: list[Row]) -> list[list[Row]]:
    """The rows of each task, tasks and rows in the order given."""
    return [[row for row in rows if row["task"] == task] for task in dict.fromkeys(row["task"] for row in rows)]


def step_ratios(rows: list[Row]) -> dict[str, str]:
    """Headings and keys of what one task's rows tell of a step, beside LTSD's; empty without another objective."""
    objectives = {row["objective"] for row in rows} - {""}
    if LTSD not in objectives or len(objectives) == 1:
        return {}
    return {heading: key for heading, key in _STEP_RATIOS.items() if any(row[key] is not None for row in rows)}


def _section(rows: list[Row]) -> Section:
    students = [row for row in rows if row["method"] != MAJORITY and not row["method"].startswith(TEACHER)]
    scales = {row["student_scale_percent"] for row in students}
    seeds = {row["seeds"] for row in students}
    units = {row["device_unit"] for row in students}
    objectives = {row["objective"] for row in students}

    def column(heading: str, text: Callable[[Row], str], priority: int = 0, is_number: bool = True) -> Column:
        return Column(heading, tuple(text(row) for row in rows), priority, is_number)

    def hours(name: str) -> Callable[[Row], str]:
        def text(row: Row) -> str:
            written = hours_text(row[name])
            return f"{written} {row['device_unit']}" if written and len(units) > 1 else written

        return text

    def ratio(name: str) -> Callable[[Row], str]:
        return lambda row: ratio_text(row[name])

    title = [str(rows[0]["task"])]
    columns = [column("Method", lambda row: str(row["method"]), is_number=False)]
    if len(scales) == 1:
        title.append(f"student at {scales.pop()}%")
    else:
        columns.append(column("Scale", lambda row: _optional(row["student_scale_percent"], "%")))
    if len(objectives) == 1:
        title.append(objectives.pop())
    else:
        columns.insert(1, column("Objective", lambda row: str(row["objective"]), is_number=False))
    if len(seeds) == 1:
        count = seeds.pop()
        title.append(f"{count} seed{'s' if count != 1 else ''}")
    else:
        columns.append(column("Seeds", lambda row: _optional(row["seeds"]), priority=1))
    unit = next(iter(units)) if len(units) == 1 else "device-hours"
    columns += [
        column("Encoder params", lambda row: count_text(row["encoder_parameters"], "B")),
        column("Total params", lambda row: count_text(row["total_parameters"], "B")),
        column("MACs", lambda row: count_text(row["macs_at_128"]), priority=1),
        column(metric_title(rows[0]["metric_name"]), lambda row: percent_text(row["metric_mean"], row["metric_std"])),
        *_other_metrics(rows),
        column(unit[0].upper() + unit[1:], hours("device_hours")),
        column("Hours ratio", ratio("device_hours_ratio")),
        column("FLOPs ratio", ratio("flops_ratio"), priority=1),
        *(column(heading, ratio(name)) for heading, name in step_ratios(rows).items()),
        *([column("Lost hours", hours("lost_device_hours"))] if any(row["lost_device_hours"] for row in rows) else []),
        *_price(rows),
        column("Assistant", lambda row: _optional(row["assistant"] or None, "%")),
        column("Teacher hours", hours("teacher_device_hours"), priority=3),
        column("Start-up hours", hours("startup_device_hours"), priority=4),
        column("Training FLOPs", lambda row: count_text(row["training_flops"]), priority=2),
    ]
    return Section(" · ".join(title), tuple(columns))


def _price(rows: list[Row]) -> list[Column]:
    """What was held at its price, where somebody gave one."""
    currencies = {row["currency"] for row in rows} - {None}
    if not currencies:
        return []
    is_one = len(currencies) == 1
    heading = f"Price ({next(iter(currencies))})" if is_one else "Price"
    cells = [
        price_text(row["price"]) if is_one or row["price"] is None else f"{price_text(row['price'])} {row['currency']}"
        for row in rows
    ]
    return [Column(heading, tuple(cells))]


def _other_metrics(rows: list[Row]) -> list[Column]:
    names = [key.removesuffix("_mean") for key in rows[0] if key.endswith("_mean") and key != "metric_mean"]
    cells = {name: [percent_text(row[f"{name}_mean"], row[f"{name}_std"]) for row in rows] for name in names}
    return [Column(metric_title(name), tuple(texts), priority=5) for name, texts in cells.items() if any(texts)]


def _optional(value: Any, unit: str = "") -> str:
    return "" if value is None else f"{value}{unit}"


def _plain(value: Any) -> Any:
    if value is None or bool(pd.isna(value)):
        return None
    return value.item() if hasattr(value, "item") else value
