"""An estimate as a table or as JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from minidisc_ray.configs.printable import printable_json
from minidisc_ray.estimate.records import Estimate, PredictedMethod, PredictedTeacher, Timed
from minidisc_ray.reports.tables import Column, Table, terminal_text
from minidisc_ray.reports.words import hours_text, ratio_text, sentence_case


def render_estimate(estimate: Estimate, format: Literal["table", "json"], width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write an estimate: json in full precision, a table rounded, with notes.

    Args:
        estimate: what was predicted.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    if format == "json":
        return printable_json(estimate.model_dump_json(indent=2)) + "\n"
    return terminal_text([_methods(estimate), _timed(estimate.timed), Table(notes=list(_notes(estimate)))], width)


def duration_text(seconds: float) -> str:
    """A duration in seconds, minutes or hours: 90 s, 45 min, 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _methods(estimate: Estimate) -> Table:
    unit, teacher = estimate.device_unit, estimate.teacher
    columns = [
        Column("Method", _method, is_number=False),
        Column(sentence_case(unit), "device_hours", hours_text),
        Column("Hours ratio", _of_method("ratio_to_conventional"), ratio_text),
        Column("Start-up hours", _of_method("startup_device_hours"), hours_text),
        Column("Duration", _duration),
    ]
    if teacher.price is not None:
        columns.append(Column(f"Price ({estimate.currency})", "price", _price))
    title = f"{estimate.task} · student at {estimate.student_percent}% · {estimate.objective} · predicted"
    return Table(title, tuple(columns), [teacher, *estimate.methods])


def _method(row: PredictedMethod | PredictedTeacher) -> str:
    if isinstance(row, PredictedTeacher):
        return "Teacher"
    return f"{row.method}, this recipe" if row.is_recipe else row.method


def _of_method(name: str) -> Callable[[PredictedMethod | PredictedTeacher], float | None]:
    return lambda row: getattr(row, name, None)


def _duration(row: PredictedMethod | PredictedTeacher) -> str:
    if isinstance(row, PredictedTeacher):
        return "in the storage" if row.is_there else ""
    return duration_text(row.duration_seconds)


def _timed(timed: Sequence[Timed]) -> Table:
    columns = (
        Column("Stage", _stage, is_number=False),
        Column("Steps", lambda found: found.num_steps or None),
        Column("Mean step, ms", "step_seconds", lambda seconds: f"{1000 * seconds:.3g}"),
        Column("Spread", _spread),
        Column("Seconds", "seconds", "{:.1f}".format),
    )
    return Table("Timed", columns, timed)


def _stage(found: Timed) -> str:
    return f"{found.stage} {found.scale_percent}%" if found.stage in ("assistant", "student") else found.stage


def _spread(found: Timed) -> str:
    if found.spread_low is None or found.spread_high is None:
        return ""
    return f"{100 * (found.spread_low - 1):+.0f}% to {100 * (found.spread_high - 1):+.0f}%"


def _notes(estimate: Estimate) -> Iterator[str]:
    over = estimate.overheads
    yield (
        "Predicted with every epoch trained, without early stopping, which "
        + ("this recipe has: stages may end sooner." if estimate.stops_early else "this recipe does not have.")
    )
    load = "" if estimate.load_average is None else f" (load average {estimate.load_average:.1f} when it began)"
    yield f"Other work on the machines slowed the timed steps{load}; during the run it may be more or less."
    yield (
        "Hours are useful ones, as in compare, without the teacher and start-up. Duration is from the command to the "
        "result: "
        + ("the storage has the teacher already." if estimate.teacher.is_there else "it includes training the teacher.")
    )
    if estimate.teacher.price is not None:
        yield "Price: device-hours and start-up, times compute.price_per_device_hour; the teacher has its own row."
    yield (
        f"Timed in {estimate.timing_seconds:.0f} s: each stage in miniature on the recipe's own rows, one epoch, first "
        "steps left out of the mean; other scales of assistants follow a line fitted to the timed ones. Spread: 10th "
        "to 90th percentile of a step's time per multiply-add, relative to the mean."
    )
    if over.at_once > 1:
        slower = f", which made a step {over.slowdown:.2f} times as long" if over.slowdown > 1 else ""
        yield f"{over.at_once} trials of a sweep run at the same time{slower}."
    if estimate.num_workers > 1:
        yield f"Timed on {estimate.num_workers} workers together, communication included."
    for kind, reason in estimate.left_out.items():
        yield f"{kind} is left out: {reason}."


def _price(price: float) -> str:
    return f"{price:,.2f}" if price >= 0.1 else f"{price:.3g}"
