"""Shares of components as a table, CSV or JSON."""

from collections.abc import Sequence

from minidisc_ray.autodistiller.importance.component_importance import (
    Importance,
    Key,
    Share,
    TaskImportance,
    importance_frame,
)
from minidisc_ray.reports.tables import Format, Row, Table, records_of, write

# A forest that predicts less says little about what matters.
_POOR_FIT = 0.1


def render_importance(importance: Importance, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write shares: csv and json in full, a row for each task and component or pair; table and md rounded, with notes.

    Args:
        importance: from ``component_importance``.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    singles = [key for key in importance.means if len(key) == 1]
    pairs = [key for key in importance.means if len(key) == 2]
    tables = [
        _table("Component, percent of variance", importance, singles),
        _table("Pair, beyond what either has alone", importance, pairs),
        Table(notes=_notes(importance)),
    ]
    return write(
        format, [table for table in tables if table.rows or table.notes], importance_records(importance), width
    )


def key_text(key: Key) -> str:
    """A component, or two."""
    return " x ".join(key)


def _table(title: str, importance: Importance, keys: Sequence[Key]) -> Table:
    ordered = sorted(keys, key=lambda key: -importance.means[key].value)
    rows = [
        [
            key_text(key),
            _interval_text(importance.means[key]),
            *(_short_text(task.shares.get(key)) for task in importance.tasks),
        ]
        for key in ordered
    ]
    return Table.of_texts([title, "Mean", *(task.task for task in importance.tasks)], rows, num_names=1)


def importance_records(importance: Importance) -> list[Row]:
    """The values behind the table, a row for each task and component or pair."""
    return records_of(importance_frame(importance))


def _interval_text(share: Share) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _short_text(share: Share | None) -> str:
    return "" if share is None else f"{100 * share.value:.1f}"


def _notes(importance: Importance) -> list[str]:
    chosen = "equally often" if importance.weights == "uniform" else "as often as they were observed"
    notes = [
        f"Shares of the variance of {importance.target} in a random forest of each task (fANOVA), the choices of a "
        f"component counted {chosen}. Intervals: 95% of {importance.num_draws} bootstrap draws of configurations. A "
        "mean is over the tasks where a component varies; an empty cell means that it does not.",
        "Configurations: " + ", ".join(f"{task.task} {task.num_configurations}" for task in importance.tasks) + ".",
        "R² of each forest on rows left out of its trees: "
        + ", ".join(f"{task.task} {task.fit:.2f}" for task in importance.tasks)
        + ".",
    ]
    poor = [task.task for task in importance.tasks if _is_poor(task)]
    if poor:
        notes.append(f"Warning: the forest hardly predicts {', '.join(poor)}; its shares there are mostly noise.")
    if importance.left_out:
        notes.append(
            f"Left out, with too few configurations, one result for all or nothing that varies: "
            f"{', '.join(importance.left_out)}."
        )
    return notes


def _is_poor(task: TaskImportance) -> bool:
    return not task.fit >= _POOR_FIT
