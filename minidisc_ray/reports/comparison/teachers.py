"""Which runs of a comparison have one teacher: results name none, so what it scored tells."""

from collections.abc import Sequence

from minidisc_ray.run_files.result import RunResult


def teachers_of(runs: Sequence[RunResult]) -> list[list[RunResult]]:
    """Runs by teacher, in order of their first ones; seeds of one teacher's recipe stand together.

    Runs share a teacher where a seed's teacher scored the same, and seeds belong together where they are of one recipe.
    """
    groups: list[list[RunResult]] = []
    for run in runs:
        alike = [group for group in groups if any(_are_alike(run, other) for other in group)]
        merged = [*(other for group in alike for other in group), run]
        groups = [group for group in groups if group not in alike]
        groups.append(merged)
    order = {run.name: place for place, run in enumerate(runs)}
    ordered = [sorted(group, key=lambda run: order[run.name]) for group in groups]
    return sorted(ordered, key=lambda group: order[group[0].name])


def _are_alike(one: RunResult, other: RunResult) -> bool:
    scores = [(run.seed, run.teacher.validation_metrics, run.teacher.selection_metrics) for run in (one, other)]
    return one.setting_digest == other.setting_digest or scores[0] == scores[1]
