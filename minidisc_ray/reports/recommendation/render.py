"""Recommended configurations as a table, CSV or JSON."""

from minidisc_ray.autodistiller.prediction.recommendation import Recommendation
from minidisc_ray.reports.tables import Column, Format, Row, Table, write

# Below, tasks differ so much that an interval for another one says little.
_FEW_TASKS = 5


def render_recommendation(found: Recommendation, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write recommended configurations, best first: csv and json in full, table and md rounded and with notes.

    Args:
        found: from ``recommend``.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    rows = recommendation_records(found)
    columns = (
        Column("", "place"),
        Column("Objective", "objective", is_number=False),
        Column("Share of teacher, %", "predicted_ratio_to_teacher", _percent),
        Column("90% interval", lambda row: (row["low"], row["high"]), lambda ends: " to ".join(map(_percent, ends))),
        Column("TFLOPs (closed form)", "tflops", lambda value: f"{value:,.3f}"),
        Column("Run", "run", is_number=False, priority=1),
    )
    table = Table(f"Recommended for {found.task}", columns, rows, _notes(found))
    return write(format, [table], rows, width)


def recommendation_records(found: Recommendation) -> list[Row]:
    """The values behind the table, a row for each configuration."""
    return [
        {
            "place": place,
            "objective": item.objective,
            "predicted_ratio_to_teacher": item.mean,
            "low": item.low,
            "high": item.high,
            "tflops": item.tflops,
            "run": item.name,
        }
        for place, item in enumerate(found.items, start=1)
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _notes(found: Recommendation) -> list[str]:
    notes = [
        f"{found.num_candidates} configurations ranked, from {found.num_observations:,} observations of "
        f"{found.num_tasks} tasks.",
        "TFLOPs: every stage but the teacher's fine-tuning, as `minidisc plan` computes them.",
    ]
    if not found.is_known_task:
        notes.append(
            "No observation is of this task: the order says more than the numbers, whose intervals are as wide as the "
            "levels of other tasks differ."
        )
    if found.num_tasks < _FEW_TASKS:
        notes.append(f"Warning: {found.num_tasks} tasks are few to learn from (docs/results/autodistiller.md).")
    notes += [f"Left out, {objective}: {reason}" for objective, reason in found.refused.items()]
    return [*notes, *(f"{note[0].upper()}{note[1:]}." for note in found.notes)]
