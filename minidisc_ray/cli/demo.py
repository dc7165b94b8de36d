"""The main job on the built-in task, small enough for a laptop's coffee break."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from minidisc_ray import api
from minidisc_ray.cli.display import show_result, watching
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
_SCHEDULES: Sequence[dict[str, Any]] = (
    {"kind": "conventional"},
    {"kind": "minidisc"},
    {"kind": "maxidisc", "scales": {"kind": "list", "values": [85, 70, 55, 40, 25]}},
)


def run_demo(storage: str, address: str | None, console: Console) -> list[RunResult]:
    """Conventional, MiniDisc, and MaxiDisc over five scales as parallel trials; prints the comparison."""
    from minidisc_ray.ray_backend.cluster import cluster

    results: list[RunResult] = []
    folder = Path(storage)
    with cluster(address):
        for schedule in _SCHEDULES:
            recipe = {**_RECIPE, "schedule": schedule, "storage": storage, "compute": {"address": address}}
            prepared = api.plan(resolve(recipe))
            with watching(console, prepared) as watch:
                results.append(api.run_prepared(prepared, watch, results))
            folder = prepared.run_folder
            show_result(console, folder, results[-1])
            console.print()
    console.print(render(api.compare(results), "table", console.width), end="", markup=False, highlight=False)
    report = write_report(folder, results[-1], results[:-1])
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    return results
