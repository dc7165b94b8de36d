"""What ``minidisc ls`` prints: a table for a terminal, csv and json for another program."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table

from minidisc_ray.configs.printable import json_text
from minidisc_ray.reports.cells import csv_cell, text_cell
from minidisc_ray.reports.storage.listing import Listed
from minidisc_ray.reports.words import age_text, hours_text, metric_title, percent_text

_STYLES = {
    "finished": "green",
    "running": "cyan",
    "waiting": "dim",
    "interrupted": "yellow",
    "stale": "yellow",
    "failed": "red",
    "not begun": "dim",
    "damaged": "red",
}
# Of the year 9999.
_LAST_SECOND = 253402300799.0


def listing_text(entries: Sequence[Listed], format: str) -> str:  # noqa: A002 the option's name
    """The listing as csv or json: every value in full, times in UTC; no text of csv is a formula."""
    rows = [_record(entry) for entry in entries]
    if format == "json":
        return json_text(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Listed)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    return stream.getvalue()


def _record(entry: Listed) -> dict[str, Any]:
    # A file may say that it is of any year.
    changed_at = datetime.fromtimestamp(min(max(entry.changed_at, 0.0), _LAST_SECOND), UTC).isoformat(
        timespec="seconds"
    )
    return asdict(entry) | {"changed_at": changed_at}


def listing_table(entries: Sequence[Listed]) -> Table:
    """For a terminal; metrics in percent, those on selection rows in brackets."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    # One word, to be copied.
    table.add_column("Name", no_wrap=True, overflow="fold")
    for heading, justify in (
        ("State", "left"),
        ("Method", "left"),
        ("Task", "left"),
        ("Scale", "right"),
        ("Seed", "right"),
        ("Metric", "right"),
        ("Device-\nhours", "right"),
        ("Changed", "right"),
        ("Size", "right"),
        ("Driver, or why", "left"),
    ):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    now = time.time()
    for entry in entries:
        metric = "" if entry.metric is None else f"{metric_title(entry.metric_name or '')} {percent_text(entry.metric)}"
        table.add_row(
            text_cell(entry.name),
            text_cell(entry.state, _STYLES[entry.state]),
            text_cell("study" if entry.kind == "study" else entry.method or ""),
            text_cell(entry.task or ""),
            "" if entry.scale_percent is None else f"{entry.scale_percent}%",
            "" if entry.seed is None else str(entry.seed),
            text_cell(f"({metric})" if metric and entry.metric_split == "selection" else metric),
            hours_text(entry.device_hours),
            f"{age_text(max(0.0, now - entry.changed_at))} ago",
            _size_text(entry.size_bytes),
            text_cell(entry.driver or entry.note),
        )
    return table


def _size_text(size: int) -> str:
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size} B"
