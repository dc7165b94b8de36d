"""The table of gains: each run with an assistant beside its conventional run."""

from minidisc_ray.reports.study.findings import signed_points
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.reports.words import percent_text
from minidisc_ray.study.findings import Findings


def gain_table(findings: Findings) -> Table | None:
    """A row for each task, seed and method with assistants; None without gains.

    Only a page has it, which sorts it: it has as many rows as the study has such runs.
    """
    gains = findings.gains
    if not gains:
        return None
    columns = [
        Column("Task", "task", is_number=False),
        *([Column("Teacher", "teacher", is_number=False)] if len({gain.teacher for gain in gains}) > 1 else []),
        *([Column("Scale", "scale_percent", unit="%")] if len({gain.scale_percent for gain in gains}) > 1 else []),
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
