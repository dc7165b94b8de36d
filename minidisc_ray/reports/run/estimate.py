"""An estimate for the terminal, or for another program."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from minidisc_ray.configs.printable import printable_json
from minidisc_ray.estimate.records import Estimate, PredictedMethod, PredictedTeacher, Timed
from minidisc_ray.reports.tables import Column, Table, terminal_text
from minidisc_ray.reports.words import hours_text, ratio_text


def render_estimate(estimate: Estimate, format: Literal["table", "json"], width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write an estimate: json in full precision, a table rounded, with notes.

    Args:
        estimate: what was predicted.
        format: what to write.
        width: columns of the terminal, for ``table`` alone; by default the terminal's own.
    """
    if format == "json":
        return printable_json(estimate.model_dump_json(indent=2)) + "\n"
    return terminal_text([_methods(estimate), _timed(estimate.timed), Table(notes=list(_notes(estimate)))], width)


def duration_text(seconds: float) -> str:
    """Seconds in the unit that a person would say."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _methods(estimate: Estimate) -> Table:
    unit, teacher = estimate.device_unit, estimate.teacher
    columns = [
        Column("Method", _method, is_number=False),
        Column(unit[0].upper() + unit[1:], "device_hours", hours_text),
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
        "Predicted with every epoch trained: early stopping, which ends a stage sooner, is not foreseen"
        + (", and this recipe has it." if estimate.stops_early else "; this recipe has none.")
    )
    load = "" if estimate.load_average is None else f" (load average {estimate.load_average:.1f} when it began)"
    yield f"Other work on the machines is in it as it was while timing{load}, and not as it will be."
    yield (
        "Device-hours leave out the teacher and start-up, as in compare. Duration is from the command to the result: "
        + ("the storage has the teacher already." if estimate.teacher.is_there else "the teacher is made in it.")
    )
    if estimate.teacher.price is not None:
        yield "Price: device-hours and start-up, times compute.price_per_device_hour; the teacher's stands apart."
    yield (
        f"Timed in {estimate.timing_seconds:.0f} s: each stage in miniature on the recipe's own rows, one epoch, first "
        "steps left out of the mean; assistants' other scales lie on a line through those timed. Spread: 10th to 90th "
        "percentile of a step's time, batches of different sizes made alike."
    )
    if over.at_once > 1:
        beside = f", which made a step {over.slowdown:.2f} times as long" if over.slowdown > 1 else ""
        yield f"{over.at_once} trials of a sweep run beside each other{beside}."
    if estimate.num_workers > 1:
        yield f"Timed on {estimate.num_workers} workers together, their communication in it."
    for kind, reason in estimate.left_out.items():
        yield f"{kind} is left out: {reason}."


def _price(price: float) -> str:
    return f"{price:,.2f}" if price >= 0.1 else f"{price:.3g}"
