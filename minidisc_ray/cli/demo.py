"""The main job on the built-in task, small enough for a laptop's coffee break."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from minidisc_ray import api
from minidisc_ray.cli.display import show_result, show_run, watching_trials
from minidisc_ray.configs.loader import resolve
from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.run_files.result import RunResult

_RECIPE: dict[str, Any] = {
    "task": "builtin",
    "student": {"scale_percent": 10},
    "finetune": {"num_epochs": 8, "learning_rate": 1e-3},
    "distil": {"num_epochs": 4, "learning_rate": 1e-3},
}
# The folder in which the demo says that it is at work, and Ray Tune keeps its files.
_HOME = "demo"
_SCHEDULES: Sequence[dict[str, Any]] = (
    {"kind": "conventional"},
    {"kind": "minidisc"},
    {"kind": "maxidisc", "scales": {"kind": "list", "values": [85, 70, 55, 40, 25]}},
)


def run_demo(storage: str, address: str | None, console: Console) -> list[RunResult]:
    """Conventional, MiniDisc, and MaxiDisc over five scales, all as trials of one experiment; prints the comparison."""
    runs = [
        api.plan(resolve({**_RECIPE, "schedule": schedule, "storage": storage, "compute": {"address": address}}))
        for schedule in _SCHEDULES
    ]
    for run in runs:
        show_run(console, run)
    results: list[RunResult] = []
    with watching_trials(console) as watch:
        results = api.run_together(runs, runs[0].storage / _HOME, watch)
    for run, result in zip(runs, results, strict=True):
        console.print(f"{run.config.schedule.label}:", markup=False, highlight=False)
        show_result(console, run.run_folder, result)
        console.print()
    console.print(render(api.compare(results), "table", console.width), end="", markup=False, highlight=False)
    report = write_report(runs[-1].run_folder, results[-1], results[:-1])
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    return results
