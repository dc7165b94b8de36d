"""What ``minidisc ls`` and ``minidisc status`` show: a line for each run and study, or one for each trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minidisc_ray.reports.storage.listing import Listed, listing
from minidisc_ray.reports.storage.status import RunStatus, status
from minidisc_ray.reports.tables import Column, Format, Row, Table, write
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


@dataclass(frozen=True)
class View:
    """How entries of a storage are found, and what is shown of each.

    Attributes:
        find: the entries of a storage's folder, or of a run's.
        entry: their class, whose fields are the columns of csv and json.
        columns: for people; metrics in percent, those on selection rows of a listing in brackets.
    """

    find: Callable[[Path], Sequence[Any]]
    entry: type
    columns: tuple[Column, ...]

    def table(self, entries: Sequence[Any]) -> Table:
        """For a terminal or a document."""
        return Table(columns=self.columns, rows=entries)

    def text(self, entries: Sequence[Any], format: Format) -> str:  # noqa: A002 the option's name
        """For another program, every value in full and times in UTC; or for a document."""
        names = [field.name for field in fields(self.entry)]
        return write(format, [self.table(entries)], [_record(asdict(entry)) for entry in entries], names=names)


def _record(record: Row) -> Row:
    if "changed_at" not in record:
        return record
    # A file may say that it is of any year.
    changed_at = datetime.fromtimestamp(min(max(record["changed_at"], 0.0), _LAST_SECOND), UTC)
    return record | {"changed_at": changed_at.isoformat(timespec="seconds")}


def _metric(entry: Listed | RunStatus) -> str | None:
    if entry.metric is None:
        return None
    text = f"{metric_title(entry.metric_name or '')} {percent_text(entry.metric)}"
    return f"({text})" if isinstance(entry, Listed) and entry.metric_split == "selection" else text


def _size_text(size: int) -> str:
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size} B"


def _words(heading: str, value: str | Callable[[Any], Any], styles: Mapping[str, str] | None = None) -> Column:
    return Column(heading, value, is_number=False, styles=styles)


BY_RUN = View(
    listing,
    Listed,
    (
        # One word, to be copied.
        Column("Name", "name", is_number=False, can_wrap=False),
        _words("State", "state", _STYLES),
        _words("Method", lambda entry: "study" if entry.kind == "study" else entry.method),
        _words("Task", "task"),
        Column("Scale", "scale_percent", unit="%"),
        Column("Seed", "seed"),
        Column("Metric", _metric),
        Column("Device-hours", "device_hours", hours_text),
        Column("Changed", "changed_at", lambda at: age_text(max(0.0, time.time() - at)), unit=" ago"),
        Column("Size", "size_bytes", _size_text),
        _words("Driver, or why", lambda entry: entry.driver or entry.note),
    ),
)
BY_TRIAL = View(
    status,
    RunStatus,
    (
        _words("Run", "run"),
        _words("Trial", "trial"),
        _words("Status", "status", _STYLES),
        _words("Stage", "stage"),
        Column("Step", "step"),
        Column("Metric", _metric),
        Column("Device-hours", "device_hours", hours_text),
        Column("Age", "age_seconds", age_text),
    ),
)
