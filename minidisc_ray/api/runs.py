"""Plan, estimate, run and compare recipes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.estimate.records import Estimate
from minidisc_ray.pipeline.run_directory import configure_storage_retries
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.comparison.table import compare as _compare_results
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.run_files.fetching import fetch_summaries
from minidisc_ray.run_files.progress import Watch
from minidisc_ray.run_files.result import RunResult, load_result
from minidisc_ray.tracking.mlflow import check_tracking


def plan(recipe: Recipe, overrides: Sequence[str] = ()) -> PreparedRun:
    """Check a recipe against its data, models and storage, and plan its steps; starts nothing.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for the first mistake found, in one sentence.

    Example:
        >>> prepared = plan(recipe, ["schedule.kind=maxidisc", "name=sweep"])
        >>> [trial.name for trial in prepared.plan.trials]
        ['scale-60', 'scale-30']
    """
    prepared = prepare(config_of(recipe, overrides))
    check_tracking(prepared.config)
    return prepared


def estimate(recipe: Recipe, overrides: Sequence[str] = ()) -> Estimate:
    """Time a few real steps on the cluster that a run would use, and predict each schedule's cost; leaves no files.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for a mistake in the recipe, or if no node has the resources of a trial.
        TrainingError: if a step failed.
    """
    from minidisc_ray.ray_backend.timing import estimate_on_ray

    return estimate_on_ray(plan(recipe, overrides))


def run(recipe: Recipe, overrides: Sequence[str] = (), watch: Watch | None = None) -> RunResult:
    """Run a recipe on a Ray cluster or a local Ray; called again, it resumes the run or returns its result.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.
        watch: called regularly with a ``RunProgress``: the trials' progress, the time left, what is waited for.

    Raises:
        UserError: for a mistake in the recipe, or if no node has the resources of a trial.
        TrainingError: if training fails.

    Example:
        >>> result = run(recipe)
        >>> result.student.scale_percent, result.assistants[0].scale_percent in (60, 30)
        (10, True)
    """
    return run_prepared(plan(recipe, overrides), watch)


def run_prepared(prepared: PreparedRun, watch: Watch | None = None, others: Sequence[RunResult] = ()) -> RunResult:
    """Run a checked recipe; its report also compares the other results given."""
    # Imported here: only calls that start a cluster need Ray.
    from minidisc_ray.ray_backend.run import results_of, run_many

    (result,) = results_of([prepared], run_many([prepared], prepared.run_folder, watch=watch, which="all"))
    configure_storage_retries([prepared])
    write_report(prepared.storage, prepared.run_folder, result, others)
    return result


def run_together(runs: Sequence[PreparedRun], home: Path, watch: Watch | None = None) -> list[RunResult]:
    """Run checked recipes as trials of one Ray Tune experiment, and return their results in the same order.

    Args:
        runs: distinct runs with the same resources.
        home: a folder beside theirs for the file that marks this process as their driver.
        watch: called regularly with a ``RunProgress`` of the running trials.

    Raises:
        UserError: if no node has the resources of a trial, or a recipe, its data or its models caused a failure.
        TrainingError: if a run failed for another reason; the other runs are finished first.
    """
    # Imported here: only calls that start a cluster need Ray.
    from minidisc_ray.ray_backend.run import results_of, run_many

    errors = run_many(runs, home, lambda run, result: write_report(run.storage, run.run_folder, result), watch, "all")
    configure_storage_retries(runs)
    return results_of(runs, errors)


def compare(runs: Sequence[str | Path | RunResult]) -> pd.DataFrame:
    """Compare finished runs in one table; its first column is the task, and ``groupby("task")`` splits it.

    Args:
        runs: folders or URIs of finished runs, or results.

    Raises:
        UserError: if a folder has no result, or runs of one task cannot be compared: they have other rows, another
            protocol or a teacher of another size.

    Example:
        >>> table = compare(["runs/first"])
        >>> list(table["method"])
        ['Teacher', 'MiniDisc (η = 3)', 'Majority class']
    """
    return _compare_results([run if isinstance(run, RunResult) else load_result(fetch_summaries(run)) for run in runs])
