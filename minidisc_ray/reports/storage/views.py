"""What ``minidisc ls`` and ``minidisc status`` show: a line for each run and study, or one for each trial."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minidisc_ray.reports.storage.listing import StorageEntry, listing
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
# A longer one would wrap into a column of words, and stands below the table.
_SHORT_NOTE = 20
# The end of the year 9999, the last that datetime can hold.
_LAST_SECOND = 253402300799.0


@dataclass(frozen=True)
class View:
    """One way to list a storage: how entries are read, and which columns show them.

    Attributes:
        find: the entries of a storage's folder, or of a run's.
        entry: their class, whose fields are the columns of csv and json.
        columns: of tables; metrics in percent, in a listing in brackets if on the selection rows.
        note: a line below tables on an entry; empty for none.
    """

    find: Callable[[Path], Sequence[Any]]
    entry: type
    columns: tuple[Column, ...]
    note: Callable[[Any], str] = lambda _: ""

    def table(self, entries: Sequence[Any]) -> Table:
        """The entries as a table; the heading of held hours names their unit where all entries have the same."""
        units = {unit for entry in entries if (unit := entry.hours_unit) is not None}
        unit = units.pop() if len(units) == 1 else "device-hours"
        columns = (replace(one, heading=f"Held {unit}") if one.value == "held_hours" else one for one in self.columns)
        return Table(columns=tuple(columns), rows=entries, notes=tuple(filter(None, map(self.note, entries))))

    def text(self, entries: Sequence[Any], format: Format) -> str:  # noqa: A002 the option's name
        """The entries as csv or json, with full values and times in UTC, or as a table."""
        names = [field.name for field in fields(self.entry)]
        return write(format, [self.table(entries)], [_record(asdict(entry)) for entry in entries], names=names)


def _record(record: Row) -> Row:
    if "changed_at" not in record:
        return record
    # A file's time may be any number.
    changed_at = datetime.fromtimestamp(min(max(record["changed_at"], 0.0), _LAST_SECOND), UTC)
    return record | {"changed_at": changed_at.isoformat(timespec="seconds")}


def _metric(entry: StorageEntry | RunStatus) -> str | None:
    if entry.metric is None:
        return None
    text = f"{metric_title(entry.metric_name or '')} {percent_text(entry.metric)}"
    return f"({text})" if isinstance(entry, StorageEntry) and entry.metric_split == "selection" else text


def _driver_or_note(entry: StorageEntry) -> str:
    """What fits into a line of the table: the driver, else a short note."""
    return entry.driver or ("see below" if _note_below(entry) else entry.note)


def _note_below(entry: StorageEntry) -> str:
    return f"{entry.name}: {entry.note}" if len(entry.note) > _SHORT_NOTE else ""


def _size_text(size: int) -> str:
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 2**power:
            return f"{size / 2**power:.1f} {unit}"
    return f"{size} B"


def _text_column(heading: str, value: str | Callable[[Any], Any], styles: Mapping[str, str] | None = None) -> Column:
    return Column(heading, value, is_number=False, styles=styles)


_HOURS = (
    Column("Held hours", "held_hours", hours_text),
    Column("Incl. teacher", "teacher_hours", hours_text, priority=7),
)
BY_RUN = View(
    listing,
    StorageEntry,
    (
        # Not wrapped, so that it can be copied. A derived name has the method, task, scale and seed.
        Column("Name", "name", is_number=False, can_wrap=False),
        _text_column("State", "state", _STYLES),
        replace(_text_column("Method", lambda one: "study" if one.kind == "study" else one.method), priority=3),
        replace(_text_column("Task", "task"), priority=4),
        Column("Scale", "scale_percent", unit="%", priority=5),
        Column("Seed", "seed", priority=6),
        Column("Metric", _metric),
        *_HOURS,
        Column("Changed", "changed_at", lambda at: age_text(max(0.0, time.time() - at)), unit=" ago", priority=2),
        Column("Size", "size_bytes", _size_text, priority=8),
        replace(_text_column("Driver or note", _driver_or_note), wraps_at=_SHORT_NOTE),
    ),
    _note_below,
)
BY_TRIAL = View(
    status,
    RunStatus,
    (
        _text_column("Run", "run"),
        _text_column("Trial", "trial"),
        _text_column("Status", "status", _STYLES),
        _text_column("Stage", "stage"),
        Column("Step", "step"),
        Column("Metric", _metric),
        *_HOURS,
        Column("Age", "age_seconds", age_text),
    ),
)
