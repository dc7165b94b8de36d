"""Checks that the runs of a task can be compared: same data and selection split, and each run once."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.words import method_name
from minidisc_ray.run_files.result import RunResult

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def distinct_runs(results: Sequence[RunResult]) -> list[RunResult]:
    """The runs in the order given, without duplicates of the same result.

    Raises:
        UserError: if two different runs have the same recipe and seed.
    """
    found: dict[tuple[str, str, int, int, str, str], RunResult] = {}
    for result in results:
        key = (
            result.task,
            method_name(result),
            result.student.scale_percent,
            result.seed,
            result.objective,
            result.method_digest,
        )
        earlier = found.setdefault(key, result)
        if earlier != result:
            raise UserError(
                f"{earlier.name} and {result.name} are both {key[1]} on {key[0]} at {key[2]} percent with "
                f"seed {key[3]}; give only one of them"
            )
    return list(found.values())


def check_comparable(results: Sequence[RunResult]) -> None:
    """Refuse runs whose scores or costs cannot be compared.

    Raises:
        UserError: if there are no runs; if runs of a task differ in protocol, data, selection split, metric or teacher
            size; if runs of a row differ in the unit of device-hours.
    """
    if not results:
        raise UserError("there is no run to compare; give the folders of finished runs")
    for group in grouped(results, lambda run: run.task):
        check_same(group, lambda run: run.protocol, "protocol")
        check_same(group, lambda run: run.selection_split, "selection split")
        _check_rows(group)
        check_same(group, lambda run: run.primary_metric, "primary metric")
        check_same(group, lambda run: f"{run.teacher.total_parameters:,} parameters", "teacher")
    for group in grouped(results, lambda run: (run.task, method_name(run), run.objective, run.student.scale_percent)):
        # A mean of core-hours and GPU-hours means nothing.
        check_same(group, lambda run: run.cost.device_unit, "unit of device-hours")


def _check_rows(runs: Sequence[RunResult]) -> None:
    """Refuse runs of one task that were trained, selected or scored on different rows."""
    first = runs[0]
    for other in runs[1:]:
        if other.data_digest != first.data_digest:
            raise UserError(
                f"{first.name} and {other.name} differ in their rows, but both are of the task {first.task}; compare "
                "them in separate tables, or give each task a name of its own (task.name)"
            )


def grouped(items: Sequence[Item], key: Callable[[Item], Key]) -> list[list[Item]]:
    """Items, for instance runs, grouped by key; groups, and items in them, in the order given."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def check_same(results: Sequence[RunResult], value: Callable[[RunResult], str], what: str) -> None:
    """Refuse runs that differ in a value.

    Raises:
        UserError: that names two such runs, both values, and ``what`` the value is.
    """
    first = results[0]
    for other in results[1:]:
        if value(other) != value(first):
            raise UserError(
                f"{first.name} and {other.name} differ in {what} ({value(first)}; {value(other)}); compare them in "
                "separate tables"
            )
