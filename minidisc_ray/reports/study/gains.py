"""Tables of gains: each run with an assistant beside its conventional run, and means by the number of training rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from minidisc_ray.reports.study.findings import signed_points
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.reports.words import percent_text
from minidisc_ray.study.findings import Findings
from minidisc_ray.study.gains import Gain


@dataclass(frozen=True)
class _OfRows:
    """The gains of one method on one data set with one number of training rows, a gain for each seed."""

    train_rows: int
    gains: Sequence[Gain]


def gain_table(findings: Findings) -> Table | None:
    """A row for each task, seed and method with assistants; None without gains.

    Only a page has it, which sorts it: it has as many rows as the study has such runs.
    """
    gains = findings.gains
    if not gains:
        return None
    columns = [
        Column("Task", "task", is_number=False),
        *_place_columns(gains),
        Column("Seed", "seed"),
        Column("Training rows", "train_rows", lambda rows: f"{rows:,}"),
        Column("Teacher's score", "teacher_score", percent_text),
        Column("Conventional", "conventional_score", percent_text),
        Column("Gap", "gap", signed_points),
        Column("Method", "method", is_number=False),
        Column("Student", "score", percent_text),
        Column("Gain", "gain", signed_points),
    ]
    return Table("The gain of an assistant, run by run", tuple(columns), gains)


def rows_table(findings: Findings) -> Table | None:
    """A row for each method and number of training rows of data that tasks share, with means over seeds.

    None without such data. Gains of a teacher that learned nothing are left out, as in trends.
    """
    found: dict[tuple[object, ...], list[Gain]] = {}
    for gain in findings.gains:
        if gain.same_data is not None and gain.train_rows and gain.teacher_has_learned:
            place = (gain.teacher, gain.scale_percent, gain.same_data, gain.method, gain.train_rows)
            found.setdefault(place, []).append(gain)
    rows = [_OfRows(gains[0].train_rows or 0, gains) for gains in found.values()]
    if not rows:
        return None
    order = list(dict.fromkeys(gain.method for gain in findings.gains))
    rows.sort(key=lambda row: (order.index(row.gains[0].method), row.gains[0].same_data or "", row.train_rows))
    columns = [
        Column("Method", lambda row: row.gains[0].method, is_number=False),
        *_place_columns([gain for row in rows for gain in row.gains], lambda row: row.gains[0]),
        Column("Data", lambda row: row.gains[0].same_data, is_number=False),
        Column("Training rows", "train_rows", lambda count: f"{count:,}"),
        Column("Gap", lambda row: signed_points(fmean(gain.gap for gain in row.gains))),
        Column("Gain", lambda row: signed_points(fmean(gain.gain for gain in row.gains))),
        Column("Each seed", lambda row: ", ".join(signed_points(gain.gain) for gain in row.gains), is_number=False),
    ]
    return Table("Gain by training rows", tuple(columns), rows)


def _place_columns(gains: Sequence[Gain], of_row: Callable[[Any], Gain] = lambda row: row) -> list[Column]:
    """Columns of the teacher and the student's scale, where gains differ in them."""
    columns = []
    if len({gain.teacher for gain in gains}) > 1:
        columns.append(Column("Teacher", lambda row: of_row(row).teacher, is_number=False))
    if len({gain.scale_percent for gain in gains}) > 1:
        columns.append(Column("Scale", lambda row: of_row(row).scale_percent, unit="%"))
    return columns
