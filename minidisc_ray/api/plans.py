"""Describe a recipe's plan, from a cache while nothing that the plan depends on has changed."""

import os
from collections.abc import Sequence

from pydantic import ValidationError

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.preparation.plan_cache import plan_key, read_plan, write_plan
from minidisc_ray.preparation.storage_check import check_storage
from minidisc_ray.reports.run.plan_report import PlanReport
from minidisc_ray.run_files.fetching import open_storage
from minidisc_ray.tracking.mlflow import check_tracking


def describe_plan(recipe: Recipe, overrides: Sequence[str] = ()) -> PlanReport:
    """Check a recipe, and report a run's steps, model sizes and cost; starts nothing.

    If ``compute.address`` or ``RAY_ADDRESS`` names a cluster, its nodes are looked at, else this machine; a trial that
    no node holds is a warning.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for the first mistake found, in one sentence.
    """
    config = config_of(recipe, overrides)
    key = plan_key(config)
    report = None if key is None else _cached(key)
    if report is None:
        # Imported here: a cached plan needs neither torch nor transformers.
        from minidisc_ray.api.runs import plan
        from minidisc_ray.reports.run.plan import plan_report

        report = plan_report(plan(config))
        if key is not None and key == plan_key(config):
            write_plan(key, report.model_dump(mode="json"))
    else:
        # The cache does not cover storage and tracking, which may have changed since.
        check_storage(open_storage(config.storage), config.storage, report.name, report.identity)
        check_tracking(config)
    return _with_fit(report, config.compute)


def _with_fit(report: PlanReport, compute: ComputeConfig) -> PlanReport:
    """The report with a warning if no node at hand holds a trial."""
    is_sure = compute.num_workers == compute.cpus_per_worker == 1 and compute.gpus_per_worker == 0
    if is_sure and not (compute.address or os.environ.get("RAY_ADDRESS")):
        # Every machine has a core. Ray takes a second to import.
        return report
    from minidisc_ray.ray_backend.nodes import fit_warning

    warning = fit_warning(compute)
    return report if warning is None else report.model_copy(update={"parts": (*report.parts, f"warning: {warning}")})


def _cached(key: str) -> PlanReport | None:
    try:
        return PlanReport.model_validate(read_plan(key))
    except ValidationError:
        return None
