"""Report of an export: sentences, and a table of the exported copies with size, score and speed."""

from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from minidisc_ray.export.exporting import ExportReport
from minidisc_ray.export.speed import BATCH_ROWS, MEASURED, ONNX_RUNTIME, SpeedRow
from minidisc_ray.reports.tables import Column, Format, Row, Table, records_of, write
from minidisc_ray.reports.words import metric_title, number_text, ratio_text

_MEBIBYTE = 2**20
# Smaller ratios are within a machine's noise.
_NOTABLE_RATIO = 1.05


def export_sentences(report: ExportReport) -> list[str]:
    """Sentences on what was written, how its answers compare with PyTorch's, and whether int8 is worth using."""
    check = report.check
    answers = "values" if report.metric in ("spearman", "pearson") else "labels"
    sentences = [
        f"{report.output}: {answers} equal PyTorch's on {check.equal_labels:,} of {check.rows:,} validation rows, "
        f"largest difference of a logit {check.largest_difference:.1g}"
    ]
    if report.int8 is not None:
        drop, other = report.int8.drop, report.int8.other_drop
        way = "dynamic" if report.int8.kind == "static" else "static"
        compared = f"{way} does not work here" if other is None else f"{way} {_loses(other.points)} it"
        sentences.append(
            f"int8: {report.int8.kind}, {_loses(drop.points)} {report.metric}, and with 95% probability loses at most "
            f"{drop.bound:.2f}; {compared}"
        )
    if report.speed:
        sentences.append(_int8_advice(report))
    return sentences


def _int8_advice(report: ExportReport) -> str:
    """Where int8 is faster than float32 in the same runtime by more than noise, and where PyTorch is faster still."""
    found = {str(row.precision): row for row in report.speed if (row.runtime, row.status) == (ONNX_RUNTIME, MEASURED)}
    float32, int8 = found.get("float32"), found.get(f"int8 {report.int8.kind}" if report.int8 is not None else "")
    if float32 is None or int8 is None:
        return "int8: not measured, so nothing is recommended"
    ratios = {
        "1 row": (float32.p50_ms_1_row or 0) / (int8.p50_ms_1_row or 1),
        f"{BATCH_ROWS} rows": (float32.p50_ms_32_rows or 0) / (int8.p50_ms_32_rows or 1),
    }
    speed = ", ".join(f"{ratio_text(ratio)} as fast as float32 at {batch}" for batch, ratio in ratios.items())
    wins = [batch for batch, ratio in ratios.items() if ratio >= _NOTABLE_RATIO]
    size = f"{100 * (int8.bytes or 0) / (float32.bytes or 1):.0f}% of its bytes"
    advised = f"recommended at {' and '.join(wins)}" if wins else "for its size, not for speed"
    return f"int8 is {speed}, with {size}: {advised} on this machine{_torch_is_faster(report, float32, int8)}"


def _torch_is_faster(report: ExportReport, float32: SpeedRow, int8: SpeedRow) -> str:
    """Clauses on the batches at which a copy in PyTorch is faster than both of ONNX Runtime's."""
    torch_rows = [row for row in report.speed if row.runtime == "torch" and row.status == MEASURED]
    clauses = []
    for batch, key in (("1 row", "p50_ms_1_row"), (f"{BATCH_ROWS} rows", "p50_ms_32_rows")):
        fastest = min(torch_rows, key=lambda row: getattr(row, key), default=None)
        if fastest is not None and _NOTABLE_RATIO * getattr(fastest, key) < min(
            getattr(float32, key), getattr(int8, key)
        ):
            clauses.append(f"; {fastest.precision} in PyTorch is faster at {batch}")
    return "".join(clauses)


def render_speed(report: ExportReport, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write the table of copies, with notes on how they were measured.

    Args:
        report: of the export.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    rows = records_of(pd.DataFrame([asdict(row) for row in report.speed]))
    columns = (
        Column("Runtime", "runtime", is_number=False),
        Column("Precision", "precision", is_number=False),
        Column("MiB", lambda row: _number(row["bytes"] and row["bytes"] / _MEBIBYTE)),
        Column(metric_title(report.metric), lambda row: "-" if row["points"] is None else f"{row['points']:.2f}"),
        Column("1 row, ms p50 / p95", _milliseconds("1_row")),
        Column(f"{BATCH_ROWS} rows, ms p50 / p95", _milliseconds("32_rows")),
        Column("Rows/s", lambda row: _number(row["rows_per_second"]), priority=1),
    )
    table = Table(f"{report.output} · {report.machine}", columns, rows, _notes(report))
    return write(format, [table], rows, width)


def _milliseconds(batch: str) -> Callable[[Row], str]:
    return lambda row: " / ".join(_number(row[f"{part}_ms_{batch}"]) for part in ("p50", "p95"))


def _notes(report: ExportReport) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    notes = [
        f"{report.threads} CPU thread{'s' if report.threads != 1 else ''}; {versions}.",
        f"Latency: one forward pass over rows of {report.length} tokens, none of them padding, {report.repeats} "
        f"repeats, copies in turns. Rows/s of {BATCH_ROWS} rows at the median. MiB: weights or graph, config and "
        "tokenizer.",
    ]
    return notes + [f"{row.runtime}, {row.precision}: {row.status}." for row in report.speed if row.status != MEASURED]


def _loses(points: float) -> str:
    if abs(points) < 0.005:
        return "loses none of"
    return f"loses {points:.2f} points of" if points > 0 else f"gains {-points:.2f} points of"


def _number(value: float | None) -> str:
    return "-" if value is None else number_text(value)
