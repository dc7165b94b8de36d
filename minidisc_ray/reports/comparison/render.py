"""A comparison in one of the formats, and what a reader must know to read it rightly."""

from collections.abc import Iterator, Sequence

import pandas as pd

from minidisc_ray.reports.comparison.columns import by_task, comparison_tables, step_ratios
from minidisc_ray.reports.comparison.table import TEACHER
from minidisc_ray.reports.tables import Format, Row, Table, records_of, write


def render(frame: pd.DataFrame, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write what ``compare`` found: csv and json in full precision, table and md rounded and with footnotes.

    Args:
        frame: the comparison.
        format: what to write.
        width: columns of the terminal, for ``table`` alone; by default the terminal's own.
    """
    return write(format, [*comparison_tables(frame), Table(notes=footnotes(frame))], records_of(frame), width)


def footnotes(frame: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table rightly; a warning comes last."""
    rows = records_of(frame)
    first = rows[0]
    notes = [
        selection_note(first["selection_split"], first["protocol"], bool(frame["metric_std"].notna().any())),
        "Device-hours leave out teacher fine-tuning and start-up: columns of their own, outside the ratio. Ratios are "
        "to the Conventional run of the same recipe and seed, and empty where there is none. FLOPs ratios are of "
        "training and evaluation together.",
        "MACs: multiply-adds of one row of 128 tokens. Encoder parameters are what the scale prunes; total adds the "
        "embeddings and the rest.",
    ]
    notes += majority_notes(
        [(row["task"], row["metric_name"], row["majority_of"]) for row in rows if row["majority_of"]]
    )
    notes += _uncounted(rows)
    notes += _fewer_seeds(rows)
    if any(row["lost_device_hours"] for row in rows):
        notes.append(
            "Lost hours: what attempts that failed or were killed did after their last checkpoint, and others did "
            "again. They are in the device-hours and in their ratio."
        )
    if any(row["price"] is not None for row in rows):
        notes.append(
            "Price: of all that was held, lost hours and start-up with it; teacher fine-tuning is left out of it too."
        )
    if any(step_ratios(of_task) for of_task in by_task(rows)):
        notes.append(
            "Step time and step memory: the median step of the student's distillation, and what its largest step adds "
            "at the peak, relative to LTSD with the same method, student and seed. The teacher's forward pass is in "
            "them only where its outputs are not cached: compute.teacher_cache_gib=0 puts it into every step."
        )
    warned = [row for row in rows if row["teacher_warning"]]
    for row in warned:
        which = "" if row["method"] == TEACHER else f", {row['method']}:"
        notes.append(f"On {row['task']}{which} {row['teacher_warning']}.")
    if bool(frame["teacher_may_have_seen_selection"].any()):
        notes.append(seen_warning([row["task"] for row in rows if row["teacher_may_have_seen_selection"]]))
    return notes


def majority_notes(found: Sequence[tuple[str, str, str]]) -> list[str]:
    """What the majority row is.

    Args:
        found: each task with its metric, and whose commonest class it is.
    """
    own = [(task, metric) for task, metric, whose in found if whose != "train"]
    older = ", ".join(dict.fromkeys(task for task, _, whose in found if whose == "train"))
    kinds = [metric in ("spearman", "pearson") for _, metric in own]
    notes = []
    if not all(kinds):
        notes.append("Majority class: always giving the commonest class of the rows that the score is on.")
    if any(kinds):
        notes.append("Majority of a regression: always giving train's mean value.")
    if older:
        notes.append(f"Majority class of {older}: train's commonest class, as older results have it.")
    return notes


def _uncounted(rows: list[Row]) -> list[str]:
    methods = [
        row["method"] for row in rows if row["training_flops_ratio"] is not None and row["evaluation_flops"] is None
    ]
    if not methods:
        return []
    return [
        f"Evaluation was not counted in older results ({', '.join(dict.fromkeys(methods))}): a FLOPs ratio with one of "
        "them is of training alone."
    ]


def _fewer_seeds(rows: list[Row]) -> Iterator[str]:
    """Which ratios rest on fewer seeds than the means beside them: means divided would contradict those."""
    for of_task in by_task(rows):
        of_seeds: dict[str, list[str]] = {}
        for row in of_task:
            if row["ratio_seeds"]:
                names = of_seeds.setdefault(row["ratio_seeds"], [])
                names += [row["method"]] if row["method"] not in names else []
        for seeds, names in of_seeds.items():
            those = f"seeds {seeds}, which" if "," in seeds else f"seed {seeds}, the only one that"
            yield (
                f"On {of_task[0]['task']} ratios of {', '.join(names)} are over {those} both rows have; hours and "
                "FLOPs beside them are means over each row's own seeds, so that their quotients are others."
            )


def selection_note(split: str, protocol: str, has_deviations: bool) -> str:
    """Which rows selected, which score, and what a score is a mean of."""
    note = f"Selected on: {split}. Scores are of the validation rows, in percent"
    note += ", mean ± sample standard deviation over seeds." if has_deviations else "."
    if protocol == "paper":
        note += " The rows that selected are the rows that score, as in the papers: scores are optimistic."
    return note


def seen_warning(tasks: list[str]) -> str:
    """The warning that a teacher may have been trained on the rows that selected."""
    return (
        f"Warning: on {', '.join(dict.fromkeys(tasks))} the teacher may have seen the rows that selected while it was "
        "trained, so what was chosen on them may be flattered."
    )
