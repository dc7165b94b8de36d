"""Measured inference as a table, CSV or JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import pandas as pd

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.inference.profile import BATCH_ROWS, MEASURED, ProfileRow
from minidisc_ray.reports.tables import Column, Format, Row, Table, records_of, write
from minidisc_ray.reports.words import count_text, number_text, parameters_text, ratio_text

# Closed form and counter count the same matrix products: a larger difference means that one of them is wrong.
_MACS_TOLERANCE = 1e-3


def profile_frame(rows: Sequence[ProfileRow]) -> pd.DataFrame:
    """A row for each model and device."""
    return pd.DataFrame([asdict(row) for row in rows])


def render_profile(frame: pd.DataFrame, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write a profile: csv and json in full precision, table and md rounded and with footnotes.

    Args:
        frame: from ``profile_frame``.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    rows = records_of(frame)
    devices = dict.fromkeys(row["device"] for row in rows)
    tables = [_table([row for row in rows if row["device"] == device]) for device in devices]
    return write(format, [*tables, Table(notes=_footnotes(rows))], rows, width)


def _footnotes(rows: list[Row]) -> list[str]:
    """How it was measured and what the columns hold; a warning comes last."""
    first = rows[0]
    load = "" if first["load_average"] is None else f"; load average {first['load_average']:.2f} when it began"
    notes = [
        f"torch {first['torch_version']}, {first['dtype']}, {first['attention']} attention, {first['threads']} CPU "
        f"thread{'s' if first['threads'] != 1 else ''}{load}.",
        f"Latency: one forward pass to the logits, rows of {first['length']} tokens without padding; median of "
        f"{first['repeats']} repeats (10th to 90th percentile) after {first['warm_up_rounds']} rounds of warm-up; "
        f"models take turns. Throughput: tokens of {BATCH_ROWS} rows over that median. Speed-up: the teacher's median "
        "over the model's.",
        "Other parameters are pooler and classifier; encoder, embedding and other make the total.",
        "MACs: multiply-adds of one row's whole forward pass in closed form (layers, pooler, classifier, an embedding "
        "projection where there is one); counted: torch.utils.flop_counter. Both leave out all but matrix products: "
        "look-ups of embeddings, biases, norms, activations, softmax.",
    ]
    chain = {row["model"] for row in rows}
    if "teacher" in chain and chain <= {"teacher", "student"}:
        notes.append("No assistant: the run has none, or minidisc clean has freed it.")
    difference = max(abs(row["counted_macs"] / row["closed_form_macs"] - 1) for row in rows)
    if difference > _MACS_TOLERANCE:
        notes.append(f"Warning: closed form and counter differ by up to {100 * difference:.1f}%.")
    else:
        notes[3] += f" They agree within {100 * _MACS_TOLERANCE:g}%."
    return notes


def _table(rows: list[Row]) -> Table:
    first = rows[0]
    if first["status"] != MEASURED:
        return Table(f"{first['run']} · {first['device']} · {first['status']}")
    many = f"{BATCH_ROWS}_rows"
    columns = [
        Column("Model", _model, is_number=False),
        Column("Encoder params", "encoder_parameters", parameters_text),
        Column("Embedding params", "embedding_parameters", parameters_text, priority=2),
        Column("Other params", "other_parameters", parameters_text, priority=3),
        Column("Total params", "total_parameters", parameters_text),
        Column(f"MACs at {first['length']}", "closed_form_macs", count_text),
        Column("MACs counted", "counted_macs", count_text, priority=4),
        Column("Latency 1 row, ms", _latency("1_row")),
        Column(f"Latency {BATCH_ROWS} rows, ms", _latency(many), priority=1),
        Column("Throughput tokens/ms", f"tokens_per_ms_{many}", number_text),
    ]
    if any(row["speedup_1_row"] is not None for row in rows):
        columns.append(Column("Speed-up 1 row", "speedup_1_row", ratio_text))
        columns.append(Column(f"Speed-up {BATCH_ROWS} rows", f"speedup_{many}", ratio_text))
    return Table(f"{first['run']} · {first['device']} ({first['device_name']})", tuple(columns), rows)


def _model(row: Row) -> str:
    name = str(row["model"]).capitalize()
    return name if row["scale_percent"] == TEACHER_PERCENT else f"{name} ({row['scale_percent']}%)"


def _latency(batch: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        median, p10, p90 = (number_text(row[f"latency_ms_{batch}{end}"]) for end in ("", "_p10", "_p90"))
        return f"{median} ({p10} to {p90})"

    return text
