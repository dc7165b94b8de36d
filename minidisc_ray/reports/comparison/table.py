"""Comparison of runs: a row for each task, method, objective and student scale, averaged over seeds."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

import pandas as pd

from minidisc_ray.configs.printable import encodable
from minidisc_ray.reports.comparison.checks import check_comparable, distinct_runs
from minidisc_ray.reports.comparison.table_columns import HEAD, NUMBERS, SIZES, TAIL, WHOLE
from minidisc_ray.reports.comparison.teachers import teachers_of
from minidisc_ray.reports.tables import Row
from minidisc_ray.reports.words import FIXED_METHODS, method_name, scales_text
from minidisc_ray.run_files.result import Method, RunResult
from minidisc_ray.run_files.result_costs import CostRecord

TEACHER = "Teacher"
MAJORITY = "Majority class"
LTSD = "LTSD"

OWN_SPLITS = ("train", "selection")
_METHOD_ORDER = get_args(Method)


def compare(results: Sequence[RunResult]) -> pd.DataFrame:
    """A row for each task, method, objective and student scale; a task begins with its teacher, ends with the majority.

    Rows are means over seeds, and missing values are empty. Metrics are shares, hours are in ``device_unit``. Cost
    ratios are to the conventional row of the same recipe, step ratios to LTSD with the same method and student. Ratios
    average the seeds that both rows have; ``ratio_seeds`` names those of cost ratios if one row has more.

    Raises:
        UserError: if the runs cannot be compared.
    """
    check_comparable(results)
    runs = distinct_runs(results)
    rows: list[Row] = []
    for task in dict.fromkeys(run.task for run in runs):
        of_task = [run for run in runs if run.task == task]
        teachers = teachers_of(of_task)
        rows.extend(_teacher_row(of_one, len(teachers) > 1) for of_one in teachers)
        rows.extend(_method_row(group, of_task) for group in _method_groups(of_task))
        rows.append(_majority_row(of_task))
    rows = [
        {encodable(key): encodable(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]
    named = {*HEAD, *TAIL}
    other_metrics = list(dict.fromkeys(key for row in rows for key in row if key not in named))
    frame = pd.DataFrame(rows, columns=[*HEAD, *other_metrics, *TAIL])
    for column in WHOLE:
        frame[column] = frame[column].astype("Int64")
    for column in (*NUMBERS, *other_metrics):
        frame[column] = frame[column].astype("float64")
    for column in SIZES:
        # Sizes are the same for every seed as a rule, and whole numbers then.
        if bool((frame[column].dropna() % 1 == 0).all()):
            frame[column] = frame[column].astype("Int64")
    return frame


def _method_groups(runs: list[RunResult]) -> list[list[RunResult]]:
    """The runs of each row, by seed; rows from the largest student down, then by method, then by objective.

    Runs of a row differ only in their seed: a mean over different recipes would hide their difference.
    """
    groups: dict[tuple[int, int, tuple[int, ...], str, tuple[bool, str], str], list[RunResult]] = {}
    for run in runs:
        fixed = tuple(-model.scale_percent for model in run.assistants) if run.method in FIXED_METHODS else ()
        order = _METHOD_ORDER.index(run.method)
        objective = (run.objective != LTSD, run.objective)
        key = (-run.student.scale_percent, order, fixed, method_name(run), objective, run.method_digest)
        groups.setdefault(key, []).append(run)
    return [sorted(groups[key], key=lambda run: run.seed) for key in sorted(groups)]


def _method_row(runs: list[RunResult], of_task: list[RunResult]) -> Row:
    first = runs[0]
    conventional = {
        run.seed: run for run in of_task if run.method == "conventional" and run.setting_digest == first.setting_digest
    }
    pairs = [(run, conventional[run.seed]) for run in runs if run.seed in conventional]
    same_unit = [(run, base) for run, base in pairs if run.cost.device_unit == base.cost.device_unit]
    steps = [(run, base) for run in runs if (base := _ltsd_run(run, of_task)) is not None]
    return {
        **_shared(runs),
        "method": _row_name(first, of_task),
        "objective": first.objective,
        "student_scale_percent": first.student.scale_percent,
        "seeds": len(runs),
        "encoder_parameters": mean(run.student.encoder_parameters for run in runs),
        "total_parameters": mean(run.student.total_parameters for run in runs),
        "macs_at_128": mean(run.student.macs_at_128 for run in runs),
        **_metrics([run.student.validation_metrics for run in runs], first.primary_metric),
        "device_hours": mean(run.cost.device_hours for run in runs),
        "device_unit": first.cost.device_unit,
        "training_flops": mean(run.cost.training_flops for run in runs),
        "evaluation_flops": _mean_of_all(run.cost.evaluation_flops for run in runs),
        "device_hours_ratio": mean_ratio(same_unit, lambda run: run.cost.device_hours),
        "flops_ratio": flops_ratio(pairs),
        "training_flops_ratio": mean_ratio(pairs, lambda run: run.cost.training_flops),
        "ratio_seeds": _ratio_seeds([run.seed for run, _ in pairs], [run.seed for run in runs], list(conventional)),
        "step_seconds": _mean_of_all(run.student_step_seconds for run in runs),
        "step_seconds_ratio": mean_ratio(steps, lambda run: run.student_step_seconds),
        "step_memory_bytes": _mean_of_all(run.student_step_memory_bytes for run in runs),
        "step_memory_ratio": mean_ratio(steps, lambda run: run.student_step_memory_bytes),
        "closed_form_training_flops": mean(run.closed_form_training_flops for run in runs),
        "closed_form_evaluation_flops": _mean_of_all(run.closed_form_evaluation_flops for run in runs),
        "teacher_device_hours": mean(run.cost.teacher_device_hours for run in runs),
        "startup_device_hours": mean(run.cost.startup_device_hours for run in runs),
        **_cost_details([run.cost for run in runs]),
        "assistant": _assistants(runs),
        "runs": " ".join(run.name for run in runs),
    }


def _cost_details(costs: list[CostRecord]) -> Row:
    """Mean useful, lost and idle hours, attempts, energy and price; a price only if all seeds have one currency."""
    currencies = {cost.currency for cost in costs}
    has_price = len(currencies) == 1
    return {
        "useful_device_hours": mean(cost.useful_device_hours for cost in costs),
        "lost_device_hours": mean(cost.lost_device_hours for cost in costs),
        "idle_device_hours": mean(cost.idle_device_hours for cost in costs),
        "attempts": mean(sum(stage.attempts for stage in cost.stages if stage.in_ratio) for cost in costs),
        "energy_joules": _mean_of_all(cost.energy_joules for cost in costs),
        "price": _mean_of_all(cost.price for cost in costs) if has_price else None,
        "currency": currencies.pop() if has_price else None,
    }


def flops_ratio(pairs: Sequence[tuple[RunResult, RunResult]]) -> float | None:
    """The mean FLOPs ratio over pairs of runs; of training alone if a run did not count evaluation.

    None if no second run of a pair has FLOPs.
    """
    if all(run.cost.flops is not None for pair in pairs for run in pair):
        return mean_ratio(pairs, lambda run: run.cost.flops)
    return mean_ratio(pairs, lambda run: run.cost.training_flops)


def _ratio_seeds(shared: list[int], own: list[int], conventional: list[int]) -> str:
    """The seeds that a ratio averages; empty if they are all seeds of both rows, or there is no ratio."""
    if not shared or set(shared) == set(own) == set(conventional):
        return ""
    return ", ".join(map(str, sorted(shared)))


def _ltsd_run(run: RunResult, of_task: list[RunResult]) -> RunResult | None:
    """The LTSD run to compare a step with: same method, student, seed and devices; None if it is not unique."""

    def setup(one: RunResult) -> tuple[object, ...]:
        student = one.student
        return method_name(one), student.scale_percent, len(student.heads), one.seed, one.devices, one.step_digest

    if run.objective == LTSD:
        return run
    found = [other for other in of_task if other.objective == LTSD and setup(other) == setup(run)]
    return found[0] if len(found) == 1 else None


def _row_name(run: RunResult, of_task: list[RunResult]) -> str:
    """The method's name, with the recipe's digest if the table has several recipes of the same name."""
    digests = {
        other.method_digest
        for other in of_task
        if method_name(other) == method_name(run)
        and other.objective == run.objective
        and other.student.scale_percent == run.student.scale_percent
    }
    return method_name(run) if len(digests) == 1 else f"{method_name(run)} [{run.method_digest[:6]}]"


def _teacher_lost(run: RunResult) -> float:
    return sum(stage.lost_device_hours for stage in run.cost.stages if not stage.in_ratio)


def _teacher_useful(run: RunResult) -> float:
    return run.cost.teacher_device_hours - _teacher_lost(run)


def _teacher_row(runs: list[RunResult], is_one_of_several: bool) -> Row:
    # Methods with the same seed share a teacher, so it counts once.
    per_seed = list({run.seed: run for run in reversed(runs)}.values())
    first = runs[0]
    units = {run.cost.device_unit for run in per_seed}
    hours = mean(run.cost.teacher_device_hours for run in per_seed) if len(units) == 1 else None
    return {
        **_shared(runs),
        "method": f"{TEACHER} [{first.setting_digest[:6]}]" if is_one_of_several else TEACHER,
        "objective": "",
        "student_scale_percent": first.teacher.scale_percent,
        "seeds": len(per_seed),
        "encoder_parameters": first.teacher.encoder_parameters,
        "total_parameters": first.teacher.total_parameters,
        "macs_at_128": first.teacher.macs_at_128,
        **_metrics([run.teacher.validation_metrics for run in per_seed], first.primary_metric),
        "device_hours": hours,
        "useful_device_hours": None if hours is None else mean(map(_teacher_useful, per_seed)),
        "lost_device_hours": None if hours is None else mean(map(_teacher_lost, per_seed)),
        "device_unit": units.pop() if len(units) == 1 else None,
        "training_flops": mean(run.cost.teacher_training_flops for run in per_seed),
        "evaluation_flops": _mean_of_all(run.cost.teacher_evaluation_flops for run in per_seed),
        "teacher_warning": next((run.teacher_warning for run in per_seed if run.teacher_warning is not None), None),
        "teacher_device_hours": hours,
        "assistant": "",
        "ratio_seeds": "",
        "runs": " ".join(run.name for run in runs) if is_one_of_several else None,
    }


def _majority_row(runs: list[RunResult]) -> Row:
    # It depends on the data alone, so it has neither a number of seeds nor a deviation.
    first = runs[0]
    return {
        **_shared(runs),
        "method": MAJORITY,
        "objective": "",
        **_metrics([first.majority_metrics], first.primary_metric),
        "majority_of": first.majority_of,
        "assistant": "",
        "ratio_seeds": "",
    }


def _shared(runs: list[RunResult]) -> Row:
    first = runs[0]
    return {
        "task": first.task,
        "metric_name": first.primary_metric,
        # The first of a task's validation sets is the one that the primary metric is of.
        "validation_rows": next((found.rows for name, found in first.splits.items() if name not in OWN_SPLITS), None),
        "selection_split": first.selection_split,
        "protocol": first.protocol,
        "teacher_may_have_seen_selection": any(run.teacher_may_have_seen_selection for run in runs),
    }


def _metrics(found: list[dict[str, float]], primary: str) -> Row:
    row: Row = {}
    for name in dict.fromkeys([primary, *(name for metrics in found for name in metrics)]):
        # A mean over only some of a row's seeds would be read as one over all of them.
        values = [metrics[name] for metrics in found] if all(name in metrics for metrics in found) else []
        prefix = "metric" if name == primary else name
        row[f"{prefix}_mean"] = mean(values)
        row[f"{prefix}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return row


def _assistants(runs: list[RunResult]) -> str:
    chains = [scales_text([model.scale_percent for model in run.assistants]) for run in runs]
    return chains[0] if len(set(chains)) == 1 else "/".join(chains)


def mean(values: Iterable[float]) -> float | None:
    """The mean of the values; None if there are none."""
    listed = list(values)
    return statistics.fmean(listed) if listed else None


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    """The mean; None if a value is missing, as a mean over some of a row's seeds would be read as one over all."""
    listed = list(values)
    found = [value for value in listed if value is not None]
    return mean(found) if len(found) == len(listed) else None


def mean_ratio(pairs: Sequence[tuple[RunResult, RunResult]], cost: Callable[[RunResult], float | None]) -> float | None:
    """The mean ratio of costs over pairs in which both runs have a cost and the second one's is not zero."""
    costs = [(cost(run), cost(base)) for run, base in pairs]
    return mean(of_run / of_base for of_run, of_base in costs if of_run is not None and of_base)
