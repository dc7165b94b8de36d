"""What an assistant gains over the conventional student, run by run, and how that changes with gap and training rows.

The gap is the teacher's score minus the conventional student's.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.evaluation.intervals import DEFAULT_RESAMPLING, Resampling
from minidisc_ray.evaluation.trends import Trend, trend_of
from minidisc_ray.run_files.result import ModelRecord, RunResult
from minidisc_ray.study.answers import FinishedRun, has_assistant

GAP: Final = "gap"
TRAINING_ROWS: Final = "training rows"
# Of fewer points neither a correlation nor a line is worth its interval.
FEWEST_POINTS: Final = 8
# The keys of a recipe's data that set the number of training rows and nothing else.
_ROW_KEYS = {"max_train_rows", "train_rows"}


@dataclass(frozen=True)
class Gain:
    """One run with an assistant beside the conventional run of the same teacher, task, scale and seed.

    Scores are shares, of the primary metric on validation.

    Attributes:
        teacher: the teacher's name in the study; None if the study has only one.
        scale_percent: the student's scale.
        task: the task's name in the study.
        seed: of both runs.
        train_rows: rows that both trained on, without selection rows.
        teacher_score: of the teacher.
        conventional_score: of the conventional student.
        gap: the teacher's score minus the conventional student's.
        method: the method's name in the study.
        score: of the method's student.
        gain: its score minus the conventional student's.
        teacher_has_learned: whether the teacher scores above the majority class; else its gap says nothing, and neither
            trends nor figures have the gain.
        conventional_has_learned: whether the conventional student does; else its gap is that to the majority class, so
            trends and figures over the gap do not have the gain.
        same_data: the name of the data that this task shares with other tasks of the study, which have other numbers of
            training rows; None if there is no such task.
    """

    teacher: str | None
    scale_percent: int
    task: str
    seed: int
    train_rows: int | None
    teacher_score: float
    conventional_score: float
    gap: float
    method: str
    score: float
    gain: float
    teacher_has_learned: bool = True
    conventional_has_learned: bool = True
    same_data: str | None = None


@dataclass(frozen=True)
class GainTrend:
    """How one method's gain changes with the gap over all tasks, or with training rows on one task's data.

    Attributes:
        teacher: as in ``Gain``.
        scale_percent: as in ``Gain``.
        method: as in ``Gain``.
        against: what x is; for training rows the logarithm to base 10, so that the slope is that of ten times the rows.
        same_data: as in ``Gain``; None for the gap.
        trend: over points of tasks and seeds; its clusters are the tasks.
    """

    teacher: str | None
    scale_percent: int
    method: str
    against: Literal["gap", "training rows"]
    same_data: str | None
    trend: Trend


def gains_of(runs: Sequence[FinishedRun], conventional: str | None = None) -> tuple[Gain, ...]:
    """The gain of each run with an assistant, in the order of the runs.

    Args:
        runs: a study's finished runs.
        conventional: the method that gains are over; by default the first one with a conventional schedule.
    """
    base = conventional or next((run.cell.method for run in runs if run.result.method == "conventional"), None)
    bases = {_place(run): run.result for run in runs if run.cell.method == base}
    shared = _shared_data(runs)
    found = []
    for run in runs:
        cell, result, other = run.cell, run.result, bases.get(_place(run))
        if other is None or cell.scale_percent is None or not has_assistant(run):
            continue
        teacher, plain, own = (_score(result, model) for model in (result.teacher, other.student, result.student))
        if teacher is None or plain is None or own is None:
            continue
        train, majority = result.splits.get("train"), result.majority_metrics.get(result.primary_metric)
        found.append(
            Gain(
                teacher=cell.teacher,
                scale_percent=cell.scale_percent,
                task=cell.task,
                seed=cell.seed,
                train_rows=train.rows if train is not None else None,
                teacher_score=teacher,
                conventional_score=plain,
                gap=teacher - plain,
                method=cell.method,
                score=own,
                gain=own - plain,
                teacher_has_learned=majority is None or teacher > majority,
                conventional_has_learned=majority is None or plain > majority,
                same_data=shared.get(cell.task),
            )
        )
    return tuple(found)


def trends_of(gains: Sequence[Gain], resampling: Resampling = DEFAULT_RESAMPLING) -> Iterator[GainTrend]:
    """The trends of each teacher, scale and method that has enough points; first those against the gap."""
    for (teacher, scale, method), points in _by_method(gains).items():
        closed = [point for point in points if point.conventional_has_learned]
        trend = _trend(closed, [point.gap for point in closed], resampling)
        if trend is not None:
            yield GainTrend(teacher, scale, method, GAP, None, trend)
    for (teacher, scale, method), points in _by_method(gains).items():
        for data in dict.fromkeys(point.same_data for point in points if point.same_data is not None):
            counted = [(point, point.train_rows) for point in points if point.same_data == data and point.train_rows]
            logarithms = [math.log10(rows) for _, rows in counted]
            trend = _trend([point for point, _ in counted], logarithms, resampling)
            if trend is not None:
                yield GainTrend(teacher, scale, method, TRAINING_ROWS, data, trend)


def num_points(gains: Sequence[Gain]) -> int:
    """The largest number of points that a trend over the gap of one teacher, scale and method could have."""
    return max(
        (sum(point.conventional_has_learned for point in points) for points in _by_method(gains).values()), default=0
    )


def _by_method(gains: Sequence[Gain]) -> dict[tuple[str | None, int, str], list[Gain]]:
    found: dict[tuple[str | None, int, str], list[Gain]] = {}
    for gain in gains:
        if gain.teacher_has_learned:
            found.setdefault((gain.teacher, gain.scale_percent, gain.method), []).append(gain)
    return found


def _trend(points: Sequence[Gain], x: Sequence[float], resampling: Resampling) -> Trend | None:
    if len(points) < FEWEST_POINTS:
        return None
    return trend_of(x, [point.gain for point in points], [point.task for point in points], resampling)


def _place(run: FinishedRun) -> tuple[str | None, str, int | None, int]:
    return run.cell.teacher, run.cell.task, run.cell.scale_percent, run.cell.seed


def _score(result: RunResult, model: ModelRecord) -> float | None:
    return model.validation_metrics.get(result.primary_metric)


def _shared_data(runs: Sequence[FinishedRun]) -> Mapping[str, str]:
    """A name for the data of each task that shares them, with another number of training rows."""
    tasks: dict[str, dict[str, str]] = {}
    for run in runs:
        tasks.setdefault(_data_key(run.cell.config), {}).setdefault(run.cell.task, run.cell.config.task_name)
    shared = [members for members in tasks.values() if len(members) > 1]
    names = [next(iter(members.values())) for members in shared]
    found: dict[str, str] = {}
    for members, name in zip(shared, names, strict=True):
        # The same task from two folders: each is named by the first task of the study that has it.
        found |= dict.fromkeys(members, name if names.count(name) == 1 else next(iter(members)))
    return found


def _data_key(config: RunConfig) -> str:
    data = config.data.model_dump(mode="json", exclude=_ROW_KEYS)
    return json.dumps([config.task_name, data], sort_keys=True)
