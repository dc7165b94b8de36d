"""Groups runs by teacher; results do not name their teacher, so equal scores identify it."""

from collections.abc import Sequence

from minidisc_ray.run_files.result import RunResult


def teachers_of(runs: Sequence[RunResult]) -> list[list[RunResult]]:
    """Runs grouped by teacher, groups in the order of their first run.

    Two runs are in one group if they have the same setting, or the same seed and the same teacher scores.
    """
    groups: list[list[RunResult]] = []
    for run in runs:
        same = [group for group in groups if any(_share_teacher(run, other) for other in group)]
        merged = [*(other for group in same for other in group), run]
        groups = [*(group for group in groups if group not in same), merged]
    order = {run.name: place for place, run in enumerate(runs)}
    ordered = [sorted(group, key=lambda run: order[run.name]) for group in groups]
    return sorted(ordered, key=lambda group: order[group[0].name])


def _share_teacher(one: RunResult, other: RunResult) -> bool:
    scores = [(run.seed, run.teacher.validation_metrics, run.teacher.selection_metrics) for run in (one, other)]
    return one.setting_digest == other.setting_digest or scores[0] == scores[1]
