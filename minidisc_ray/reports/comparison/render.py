"""Writes a comparison, with the footnotes that explain it."""

from collections.abc import Iterator, Sequence

import pandas as pd

from minidisc_ray.reports.comparison.columns import by_task, comparison_tables, step_ratios
from minidisc_ray.reports.comparison.table import TEACHER
from minidisc_ray.reports.tables import Format, Row, Table, records_of, write


def render(frame: pd.DataFrame, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write a comparison: csv and json in full precision, table and md rounded and with footnotes.

    Args:
        frame: from ``compare``.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    return write(format, [*comparison_tables(frame), Table(notes=footnotes(frame))], records_of(frame), width)


def footnotes(frame: pd.DataFrame) -> list[str]:
    """Notes that explain the table's numbers; warnings come last."""
    rows = records_of(frame)
    notes = [
        *_selection_notes(rows),
        *_precision_notes(rows),
        "Useful hours exclude teacher fine-tuning and start-up, which have their own columns and are in no ratio. "
        "Ratios are to the Conventional run of the same recipe and seed, and empty where there is none. FLOPs ratios "
        "include training and evaluation.",
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
            "Lost hours: work after the last checkpoint of attempts that failed or were killed, which later attempts "
            "repeated. The hours ratio is of useful and lost hours together."
        )
    if any(row["price"] is not None for row in rows):
        notes.append("Price: of useful, lost and start-up hours, without teacher fine-tuning.")
    if any(step_ratios(of_task) for of_task in by_task(rows)):
        notes.append(
            "Step time and step memory: the median step of the student's distillation, and the peak memory that its "
            "largest step adds, relative to LTSD with the same method, student and seed. They include the teacher's "
            "forward pass only where its outputs are not cached; with compute.teacher_cache_gib=0 in every step."
        )
    warned = [row for row in rows if row["teacher_warning"]]
    for row in warned:
        which = "" if row["method"] == TEACHER else f", {row['method']}:"
        notes.append(f"On {row['task']}{which} {row['teacher_warning']}.")
    if bool(frame["teacher_may_have_seen_selection"].any()):
        notes.append(seen_warning([row["task"] for row in rows if row["teacher_may_have_seen_selection"]]))
    return notes


_AVERAGES = ("micro_f1", "macro_f1", "weighted_f1")


def majority_notes(found: Sequence[tuple[str, str, str]]) -> list[str]:
    """Notes that explain the majority row.

    Args:
        found: task, metric and ``majority_of`` of each result: the rows whose commonest class it is.
    """
    own = [(task, metric) for task, metric, rows in found if rows != "train"]
    older = ", ".join(dict.fromkeys(task for task, _, rows in found if rows == "train"))
    is_regression = [metric in ("spearman", "pearson") for _, metric in own]
    notes = []
    if not all(is_regression):
        several = any(metric in _AVERAGES for _, metric in own)
        more = "; where a row may have several labels, the more common answer to each" if several else ""
        notes.append(f"Majority class: always answering the most common class of the rows that are scored{more}.")
    if any(is_regression):
        notes.append("Majority of a regression: always answering the mean value of train.")
    if older:
        notes.append(f"Majority class of {older}: the most common class of train, as in older results.")
    return notes


def _selection_notes(rows: list[Row]) -> Iterator[str]:
    """A note on selection and scores, with the tasks it is about where they were not all selected alike."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        alike.setdefault((row["selection_split"], row["protocol"]), []).append(row)
    for (split, protocol), found in alike.items():
        tasks = ", ".join(dict.fromkeys(row["task"] for row in found))
        has_deviations = any(row["metric_std"] is not None for row in found)
        yield (f"{tasks}: " if len(alike) > 1 else "") + selection_note(split, protocol, has_deviations)


def _precision_notes(rows: list[Row]) -> Iterator[str]:
    """For each task scored by accuracy, the interval that its number of validation rows leaves (binomial)."""
    for of_task in by_task(rows):
        task, count = of_task[0]["task"], of_task[0]["validation_rows"]
        student = next((row for row in of_task if row["objective"]), None)
        if student is None or not count or student["metric_name"] != "accuracy":
            continue
        share = student["metric_mean"]
        points = 196 * (share * (1 - share) / count) ** 0.5
        yield (
            f"On {task} {count:,} validation rows leave an accuracy of {100 * share:.1f} a 95% interval of "
            f"±{points:.1f} points, in each seed; `minidisc study` has the intervals of differences."
        )


def _uncounted(rows: list[Row]) -> list[str]:
    methods = [
        row["method"] for row in rows if row["training_flops_ratio"] is not None and row["evaluation_flops"] is None
    ]
    if not methods:
        return []
    return [
        f"Older results ({', '.join(dict.fromkeys(methods))}) did not count evaluation: FLOPs ratios with them are of "
        "training alone."
    ]


def _fewer_seeds(rows: list[Row]) -> Iterator[str]:
    """Notes on ratios that average fewer seeds than the means beside them: dividing those means gives other ratios."""
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
                "FLOPs beside them are means over each row's own seeds, and dividing them gives other ratios."
            )


def selection_note(split: str, protocol: str, has_deviations: bool) -> str:
    """A note on the rows that select, the rows that score, and what scores average."""
    note = f"Selected on: {split}. Scores are of the validation rows, in percent"
    note += ", mean ± sample standard deviation over seeds." if has_deviations else "."
    if protocol == "paper":
        note += " Selection used the rows that are scored, as in the papers: scores are optimistic."
    return note


def seen_warning(tasks: list[str]) -> str:
    """The warning that a teacher may have been trained on the selection rows."""
    return (
        f"Warning: on {', '.join(dict.fromkeys(tasks))} the teacher may have been trained on the selection rows, so "
        "selection scores may be too high and choices made by them worse."
    )
