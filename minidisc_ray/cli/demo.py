"""The demo: one student trained in four ways on the built-in task, in two minutes, and a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from minidisc_ray import api
from minidisc_ray.cli.lines import Lines
from minidisc_ray.cli.live import watching_trials
from minidisc_ray.cli.options import print_line
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import resolve
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.log import logger
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.summary import Summary, summarise, summary_table
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.reports.tables import show
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.answers import FinishedRun

# Words after a "but" count twice, and the student keeps two of 32 heads: the task is hard for it, so the ways differ.
_RECIPE: dict[str, Any] = {
    "task": "builtin",
    "data": {"but_weight": 2, "train_rows": 3000, "validation_rows": 3800, "selection_fraction": 0.2},
    "student": {"scale_percent": 5},
    "finetune": {"num_epochs": 7, "learning_rate": 1e-3},
    "distil": {"num_epochs": 2, "learning_rate": 1e-3, "early_stop_epochs": None},
}
# The folder for the driver's file and Ray Tune's files.
_DRIVER_FOLDER = "demo"
_SCHEDULES: Mapping[str, dict[str, Any]] = {
    "conventional": {"kind": "conventional"},
    "assistant": {"kind": "assistant", "assistant_percent": 40},
    "minidisc": {"kind": "minidisc", "search": "race"},
    "maxidisc": {"kind": "maxidisc", "scales": {"kind": "list", "values": [60, 40, 20]}},
}
_NEXT = (
    "Next: minidisc init --task sst2 --model MODEL writes a GLUE task's recipe, docs/guide/recipes.md says how to use "
    "your own data; minidisc plan RECIPE checks it, minidisc run RECIPE runs it."
)


def demo_recipes(storage: str, address: str | None = None, seed: int = 0) -> dict[str, RunConfig]:
    """The demo's recipes by schedule."""
    shared = {**_RECIPE, "storage": storage, "seed": seed, "compute": {"address": address}}
    return {name: resolve({**shared, "schedule": schedule}) for name, schedule in _SCHEDULES.items()}


def demo_summary(runs: Sequence[PreparedRun], results: Sequence[RunResult]) -> Summary:
    """Summarise the demo's runs: scores with intervals, costs, and a sentence.

    Raises:
        UserError: if their predictions are missing.
    """
    return summarise(
        [
            FinishedRun(
                Cell(None, result.task, result.method, result.student.scale_percent, run.config.seed, run.config),
                run,
                result,
            )
            for run, result in zip(runs, results, strict=True)
        ]
    )


def run_demo(storage: str, address: str | None, lines: Lines, seed: int = 0) -> list[RunResult]:
    """Run conventional, TA, MiniDisc's race and MaxiDisc as one experiment; print a table and a sentence."""
    console = lines.console
    runs = [api.plan(recipe) for recipe in demo_recipes(storage, address, seed).values()]
    console.print(f"{len(runs)} ways to one student on the built-in task, in {runs[0].storage.root}:", soft_wrap=True)
    for run in runs:
        print_line(console, f"  {run.config.schedule.label}: {run.name}")
    with watching_trials(lines) as watch:
        results = api.run_together(runs, runs[0].storage.root / _DRIVER_FOLDER, watch)
    report = write_report(runs[-1].storage, runs[-1].run_folder, results[-1], results[:-1])
    try:
        summary = demo_summary(runs, results)
        show(console, [summary_table(summary)])
        print_line(console, summary.finding)
    except UserError as error:
        logger.warning("intervals and the comparison in words are left out: %s", error)
        console.print(render(api.compare(results), "table", console.width), end="", markup=False, highlight=False)
    print_line(console, _NEXT)
    print_line(console, f"report: {report}")
    return results
