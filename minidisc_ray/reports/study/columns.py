"""The columns of a study's table: one for each task, two for MNLI where both its validation sets are scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.task import GlueTaskConfig
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome

_TITLES = {
    "sst2": "SST-2", "mrpc": "MRPC", "stsb": "STS-B", "qqp": "QQP", "mnli": "MNLI", "qnli": "QNLI", "rte": "RTE",
    "cola": "CoLA", "wnli": "WNLI",
}  # fmt: skip
_MISMATCHED = "validation_mismatched"


@dataclass(frozen=True)
class ScoreColumn:
    """One column of scores.

    Attributes:
        key: its name in data, and in a paper's figures: ``mrpc``, ``mnli_m``.
        title: its heading.
        task: the task's name in the study.
        split: an additional validation set; None for the task's own.
        metric: the metric's name; None before a run is finished.
    """

    key: str
    title: str
    task: str
    split: str | None
    metric: str | None

    def of_student(self, run: RunResult) -> float | None:
        """The student's score; None where the run has none for this column."""
        return self._metric(run, run.student.validation_metrics)

    def of_teacher(self, run: RunResult) -> float | None:
        """The teacher's score; None where the run has none for this column."""
        return self._metric(run, run.teacher.validation_metrics)

    def of_majority(self, run: RunResult) -> float | None:
        """The score of always answering the majority class; None where the run has none for this column."""
        return self._metric(run, run.majority_metrics)

    def _metric(self, run: RunResult, metrics: Mapping[str, float]) -> float | None:
        return metrics.get(run.primary_metric if self.split is None else f"{run.primary_metric}@{self.split}")


def columns_of(study: StudyConfig, outcomes: Sequence[Outcome]) -> tuple[ScoreColumn, ...]:
    """The columns of one teacher's outcomes, in the order of the study's tasks."""
    columns: list[ScoreColumn] = []
    for name in study.tasks:
        of_task = [outcome for outcome in outcomes if outcome.cell.task == name]
        if not of_task:
            continue
        results = [outcome.result for outcome in of_task if outcome.result is not None]
        metric = results[0].primary_metric if results else None
        task = of_task[0].cell.config.task
        glue = task.name if isinstance(task, GlueTaskConfig) else None
        title = _TITLES[glue] if glue == name else name
        if glue == "mnli" and _has_mismatched(results):
            columns.append(ScoreColumn(f"{name}_m", f"{title}-m", name, None, metric))
            columns.append(ScoreColumn(f"{name}_mm", f"{title}-mm", name, _MISMATCHED, metric))
        else:
            columns.append(ScoreColumn(name, title, name, None, metric))
    return tuple(columns)


def _has_mismatched(results: Sequence[RunResult]) -> bool:
    """Whether runs score both of MNLI's validation sets; True before any run is finished."""
    keys = [f"{result.primary_metric}@{_MISMATCHED}" in result.student.validation_metrics for result in results]
    return not keys or any(keys)
