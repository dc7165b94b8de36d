"""Recommended configurations as a table, CSV or JSON."""

from typing import get_args

from minidisc_ray.autodistiller.prediction.recommendation import Recommendation, percent_text
from minidisc_ray.configs.task import GlueTask
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
    columns = [
        Column("", "place"),
        Column("Objective", "objective", is_number=False),
        Column("Share of teacher, %", "predicted_ratio_to_teacher", percent_text),
        Column(
            "90% interval", lambda row: (row["low"], row["high"]), lambda ends: " to ".join(map(percent_text, ends))
        ),
    ]
    if not found.is_by_name:
        columns += [
            Column("TFLOPs (closed form)", "tflops", lambda value: f"{value:,.3f}"),
            Column("Run", "run", is_number=False, priority=1),
        ]
    title = f"Recommended for {found.task}: {found.student}, teacher {found.teacher}"
    return write(format, [Table(title, tuple(columns), rows, _notes(found))], rows, width)


def recommendation_records(found: Recommendation) -> list[Row]:
    """The values behind the table, a row for each configuration."""
    return [
        {
            "place": item.place,
            "task": found.task,
            "student": found.student,
            "teacher": found.teacher,
            "objective": item.objective,
            "predicted_ratio_to_teacher": item.mean,
            "low": item.low,
            "high": item.high,
            "tflops": item.tflops,
            "run": item.name,
        }
        for item in found.items
    ]


def _notes(found: Recommendation) -> list[str]:
    notes = [
        f"{found.num_candidates} configurations ranked, from {found.num_observations:,} observations of "
        f"{found.num_tasks} tasks.",
        *_ties(found),
        *_source(found),
    ]
    if found.without:
        named = ", ".join(f"{task} ({count:,} observations)" for task, count in found.without.items())
        notes.append(f"Left out of the table, as --without says: {named}.")
    if not found.is_known_task:
        notes.append(
            "No observation is of this task: the order says more than the numbers, whose intervals are as wide as the "
            "levels of other tasks differ."
        )
    if found.num_tasks < _FEW_TASKS:
        notes.append(f"Warning: {found.num_tasks} tasks are few to learn from (docs/results/autodistiller.md).")
    notes += [f"Left out, {objective}: {reason}" for objective, reason in found.refused.items()]
    return [*notes, *(f"{note[0].upper()}{note[1:]}." for note in found.notes)]


def _ties(found: Recommendation) -> list[str]:
    notes = []
    if len({item.place for item in found.items}) < len(found.items):
        notes.append(
            "Configurations with the same place are tied: their predictions are equal as printed. Their order, by "
            "further digits and then by name, says nothing."
        )
    if found.num_tied:
        are = "is" if found.num_tied == 1 else "are"
        notes.append(f"{found.num_tied} more {are} tied with the last one; --top shows more.")
    return notes


def _source(found: Recommendation) -> list[str]:
    """What the numbers stand on: a recipe, or a name alone and how to get further."""
    if not found.is_by_name:
        return ["TFLOPs: every stage but the teacher's fine-tuning, as `minidisc plan` computes them."]
    is_glue = found.task in get_args(GlueTask)
    init = f"--task {found.task}" if is_glue else "--data FILE"
    file = f"{found.task}.yaml" if is_glue else "RECIPE"
    rows = (
        "the table does not know how many rows the task has, so the median of its tasks is taken"
        if found.num_examples is None
        else f"{found.num_examples:,.0f} training rows"
    )
    return [
        f"By the table alone, for these models (--student and --teacher choose others); {rows}. Nothing was checked "
        "against data and models.",
        f"A recipe gives checked recipes and their costs: `minidisc init {init} --model MODEL` writes one, then "
        f"`minidisc recommend {file} --from TABLE --output DIR`.",
    ]
