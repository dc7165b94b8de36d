"""A comparison as tables, one for each task; what all rows of a table share is in its title."""

from collections.abc import Callable

import pandas as pd

from minidisc_ray.reports.comparison.table import LTSD, MAJORITY, TEACHER
from minidisc_ray.reports.tables import Column, Row, Table, records_of
from minidisc_ray.reports.words import (
    count_text,
    hours_text,
    metric_title,
    parameters_text,
    price_text,
    ratio_text,
    score_text,
    seeds_text,
)

_STEP_RATIOS = {"Step time": "step_seconds_ratio", "Step memory": "step_memory_ratio"}


def comparison_tables(frame: pd.DataFrame) -> list[Table]:
    """A table for each task.

    Args:
        frame: from ``compare``.
    """
    return [_table(rows) for rows in by_task(records_of(frame))]


def by_task(rows: list[Row]) -> list[list[Row]]:
    """The rows of each task, tasks and rows in the order given."""
    return [[row for row in rows if row["task"] == task] for task in dict.fromkeys(row["task"] for row in rows)]


def step_ratios(rows: list[Row]) -> dict[str, str]:
    """Headings and keys of ratios to LTSD's training step, for one task; empty unless LTSD and others are in it."""
    objectives = {row["objective"] for row in rows} - {""}
    if LTSD not in objectives or len(objectives) == 1:
        return {}
    return {heading: key for heading, key in _STEP_RATIOS.items() if any(row[key] is not None for row in rows)}


def _table(rows: list[Row]) -> Table:
    students = [row for row in rows if row["method"] != MAJORITY and not row["method"].startswith(TEACHER)]
    scales, seeds, units, objectives = (
        {row[key] for row in students} for key in ("student_scale_percent", "seeds", "device_unit", "objective")
    )
    title = [str(rows[0]["task"])]
    title += [f"student at {scale}%" for scale in scales if len(scales) == 1]
    title += [objective for objective in objectives if len(objectives) == 1]
    title += [seeds_text(count) for count in seeds if len(seeds) == 1]
    unit = next(iter(units)) if len(units) == 1 else "device-hours"
    currencies = {row["currency"] for row in rows} - {None}
    currency = next(iter(currencies)) if len(currencies) == 1 else None
    others = [key.removesuffix("_mean") for key in rows[0] if key.endswith("_mean") and key != "metric_mean"]
    has_lost = any(row["lost_device_hours"] for row in rows)
    columns = (
        Column("Method", "method", is_number=False),
        *([] if len(objectives) == 1 else [Column("Objective", "objective", is_number=False)]),
        *([] if len(scales) == 1 else [Column("Scale", "student_scale_percent", unit="%")]),
        *([] if len(seeds) == 1 else [Column("Seeds", "seeds", priority=1)]),
        Column("Encoder params", "encoder_parameters", parameters_text),
        Column("Total params", "total_parameters", parameters_text),
        Column("MACs", "macs_at_128", count_text, priority=1),
        Column(metric_title(rows[0]["metric_name"]), _score("metric")),
        *(Column(metric_title(name), _score(name), priority=5) for name in others if any(map(_score(name), rows))),
        Column(f"Useful {unit}", _hours("useful_device_hours", units)),
        Column("Hours ratio", "device_hours_ratio", ratio_text),
        Column("FLOPs ratio", "flops_ratio", ratio_text, priority=1),
        *(Column(heading, name, ratio_text) for heading, name in step_ratios(rows).items()),
        *([Column("Lost hours", _hours("lost_device_hours", units))] if has_lost else []),
        *([Column(f"Price ({currency})", "price", price_text)] if currency is not None else []),
        *([Column("Price", _price)] if len(currencies) > 1 else []),
        Column("Assistant", "assistant", unit="%"),
        Column("Teacher hours", _hours("teacher_device_hours", units), priority=3),
        Column("Start-up hours", _hours("startup_device_hours", units), priority=4),
        Column("Training FLOPs", "training_flops", count_text, priority=2),
    )
    return Table(" · ".join(title), columns, rows)


def _score(name: str) -> Callable[[Row], str]:
    return lambda row: score_text(name, row[f"{name}_mean"], row[f"{name}_std"])


def _hours(name: str, units: set[str]) -> Callable[[Row], str]:
    """Hours, with their unit where the table has several."""

    def text(row: Row) -> str:
        written = hours_text(row[name])
        return f"{written} {row['device_unit']}" if written and len(units) > 1 else written

    return text


def _price(row: Row) -> str | None:
    return None if row["price"] is None else f"{price_text(row['price'])} {row['currency']}"
