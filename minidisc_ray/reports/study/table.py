"""A study's outcomes as one table in the papers' layout: methods down, tasks across, a block for each teacher."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minidisc_ray.configs.study.base import TEACHER_ROW, StudyConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.reports.comparison.checks import check_comparable, check_same
from minidisc_ray.reports.comparison.table import MAJORITY, flops_ratio, mean, mean_ratio
from minidisc_ray.reports.study.columns import ScoreColumn, columns_of
from minidisc_ray.reports.study.labels import row_label
from minidisc_ray.reports.study.learning import learning_warnings
from minidisc_ray.reports.study.marks import Marks
from minidisc_ray.reports.study.notes import notes_of
from minidisc_ray.reports.study.paper import printed_for, printed_row
from minidisc_ray.reports.study.scores import Score, average_of_row, score_of
from minidisc_ray.reports.study.settings import Bases, search_ratios, settings_document, settings_tables
from minidisc_ray.reports.tables import Table
from minidisc_ray.run_files.result import ModelRecord, RunResult
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.settings import Choice, every_outcome

Group = Literal["teacher", "conventional", "assistant", "majority"]
_ORDER: tuple[Group, ...] = ("conventional", "assistant")
_WITHOUT_ASSISTANT = ("conventional", "sparse_teacher")


@dataclass(frozen=True)
class StudyRow:
    """One line of the table; sizes and ratios are means over tasks and seeds.

    Attributes:
        group: its part of the table.
        label: as it is printed.
        method: its name in the study; None for teacher and majority.
        scale_percent: the student's; None for teacher, majority, and students of some layers.
        scores: by the columns' keys.
        average: the flat mean over columns.
        macs_at_128: multiply-adds of one row of 128 tokens, what the papers print as FLOPs.
        device_hours_ratio: to the conventional run of the same teacher, task, scale and seed.
        training_flops_ratio: the same of training FLOPs.
        search_device_hours_ratio: device-hours of the grid's runs of settings that were not chosen, as a multiple of
            the conventional run's; None without a grid.
        search_flops_ratio: the same of FLOPs.
        printed: the paper's figures by column, metrics in percent; empty if they are not shown.
        runs: the names of its finished runs.
    """

    group: Group
    label: str
    scores: dict[str, Score]
    average: Score
    method: str | None = None
    scale_percent: int | None = None
    encoder_parameters: float | None = None
    total_parameters: float | None = None
    macs_at_128: float | None = None
    device_hours_ratio: float | None = None
    training_flops_ratio: float | None = None
    flops_ratio: float | None = None
    evaluation_flops: float | None = None
    search_device_hours_ratio: float | None = None
    search_flops_ratio: float | None = None
    printed: dict[str, float] | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """One teacher's part of the table.

    Attributes:
        name: the teacher's; None if the study has one teacher.
        teacher: as recorded by a finished run; None before there is one.
    """

    name: str | None
    teacher: ModelRecord | None
    columns: tuple[ScoreColumn, ...]
    rows: tuple[StudyRow, ...]


@dataclass(frozen=True)
class StudyTable:
    """A study's whole table, as data.

    Attributes:
        notes: below the table: the warnings, then failed and unfinished runs, then the rest.
        warnings: on models that score no better than the majority class.
        failed: names of failed runs with their reasons.
        unfinished: names of runs that have neither a result nor failed.
        settings_tables: the settings that a grid's runs chose; empty without a grid.
        settings: the same as data, with the cost of each run of the grid.
    """

    name: str
    title: str
    budget: str | None
    num_seeds: int
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    failed: dict[str, str]
    unfinished: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    settings_tables: tuple[Table, ...] = ()
    settings: tuple[dict[str, Any], ...] = ()


def study_table(study: StudyConfig, outcomes: Sequence[Outcome], choices: Sequence[Choice] = ()) -> StudyTable:
    """The table of a study's outcomes, finished or not.

    Args:
        study: with its budget applied.
        outcomes: of its cells.
        choices: of a study with a grid, what its runs chose.

    Raises:
        UserError: if runs that the table compares differ in protocol, rows, metric, teacher or unit of hours.
    """
    _check(outcomes)
    marks = Marks()
    blocks = []
    for teacher in study.teacher_names:
        here = [outcome for outcome in outcomes if outcome.cell.teacher == teacher]
        if here:
            blocks.append(_block(study, teacher, here, choices, marks))
    warnings = tuple(learning_warnings(outcomes))
    shown = [(block.teacher, block.columns) for block in blocks]
    every = every_outcome(outcomes, choices)
    return StudyTable(
        name=study.name,
        title=study.title or study.name,
        budget=study.budget,
        num_seeds=len(study.seeds),
        blocks=tuple(blocks),
        notes=(*warnings, *notes_of(study, outcomes, marks, shown, choices)),
        failed={name: one.failure for name, one in every.items() if one.failure is not None},
        unfinished=tuple(name for name, one in every.items() if one.result is None and one.failure is None),
        warnings=warnings,
        settings_tables=tuple(settings_tables(study, choices)),
        settings=tuple(settings_document(study, choices)),
    )


def _check(outcomes: Sequence[Outcome]) -> None:
    results = _results(outcomes)
    if results:
        check_same(results, lambda run: run.protocol, "protocol")
    for place in dict.fromkeys((one.cell.teacher, one.cell.task) for one in outcomes):
        here = _results(one for one in outcomes if (one.cell.teacher, one.cell.task) == place)
        if here:
            check_comparable(here)
            check_same(here, lambda run: run.cost.device_unit, "unit of device-hours")


def _block(
    study: StudyConfig, teacher: str | None, outcomes: Sequence[Outcome], choices: Sequence[Choice], marks: Marks
) -> Block:
    columns = columns_of(study, outcomes)
    results = _results(outcomes)
    record = results[0].teacher if results else None
    table = printed_for(study.paper, record)
    keys = [column.key for column in columns]
    rows = [_teacher_row(teacher, columns, outcomes, printed_row(table, TEACHER_ROW, None, keys))]
    found: dict[tuple[str, int | None], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.cell.method, outcome.cell.scale_percent), []).append(outcome)
    order = list(study.methods)
    for group in _ORDER:
        of_group = [place for place, runs in found.items() if _group(study, runs[0]) == group]
        # Students of some layers first, then from the largest scale down, as the papers have them.
        for method, scale in sorted(
            of_group, key=lambda place: (-(place[1] or TEACHER_PERCENT), order.index(place[0]))
        ):
            runs = found[method, scale]
            printed = printed_row(table, method, scale, keys)
            rows.append(_method_row(group, runs, columns, outcomes, study, choices, marks, printed))
    if results:
        rows.append(_majority_row(columns, outcomes))
    return Block(teacher, record, columns, tuple(rows))


def _group(study: StudyConfig, outcome: Outcome) -> Group:
    named = study.methods[outcome.cell.method].group
    return named or ("conventional" if outcome.cell.config.schedule.kind in _WITHOUT_ASSISTANT else "assistant")


def _method_row(
    group: Group,
    runs: Sequence[Outcome],
    columns: Sequence[ScoreColumn],
    outcomes: Sequence[Outcome],
    study: StudyConfig,
    choices: Sequence[Choice],
    marks: Marks,
    printed: dict[str, float],
) -> StudyRow:
    cell = runs[0].cell
    scores = {
        column.key: score_of([run for run in runs if run.cell.task == column.task], column.of_student, marks)
        for column in columns
    }
    results = _results(runs)
    bases = _bases(outcomes, study.conventional)
    pairs = _pairs(runs, bases)
    search_hours, search_flops = search_ratios(choices, cell.place, bases, study.grid_seed)
    students = [result.student for result in results]
    return StudyRow(
        group=group,
        label=row_label(cell.method, cell.scale_percent),
        scores=scores,
        average=average_of_row(list(scores.values())),
        method=cell.method,
        scale_percent=cell.scale_percent,
        encoder_parameters=mean(student.encoder_parameters for student in students),
        total_parameters=mean(student.total_parameters for student in students),
        macs_at_128=mean(student.macs_at_128 for student in students),
        device_hours_ratio=mean_ratio(pairs, lambda run: run.cost.device_hours),
        training_flops_ratio=mean_ratio(pairs, lambda run: run.cost.training_flops),
        flops_ratio=flops_ratio(pairs),
        evaluation_flops=mean(
            result.cost.evaluation_flops for result in results if result.cost.evaluation_flops is not None
        ),
        search_device_hours_ratio=search_hours,
        search_flops_ratio=search_flops,
        printed=printed,
        runs=tuple(result.name for result in results),
    )


def _bases(outcomes: Sequence[Outcome], conventional: str | None) -> Bases:
    """The finished conventional runs, by task, scale and seed."""
    return {
        (one.cell.task, one.cell.scale_percent, one.cell.seed): one.result
        for one in outcomes
        if one.cell.method == conventional and one.result is not None
    }


def _pairs(runs: Sequence[Outcome], bases: Bases) -> list[tuple[RunResult, RunResult]]:
    """Pairs of a finished run and the conventional run of the same task, scale and seed; without one no pair."""
    pairs = []
    for run in runs:
        if run.result is not None:
            # The scale of a student of some layers is known from its result only.
            scale = run.cell.scale_percent or run.result.student.scale_percent
            base = bases.get((run.cell.task, scale, run.cell.seed))
            pairs += [(run.result, base)] if base is not None else []
    return pairs


def _teacher_row(
    name: str | None,
    columns: Sequence[ScoreColumn],
    outcomes: Sequence[Outcome],
    printed: dict[str, float],
) -> StudyRow:
    scores = {}
    for column in columns:
        # All methods of one task and seed share their teacher.
        by_seed = {run.cell.seed: run for run in outcomes if run.cell.task == column.task and run.result is not None}
        scores[column.key] = score_of([by_seed[seed] for seed in sorted(by_seed)], column.of_teacher)
    teachers = [result.teacher for result in _results(outcomes)]
    first = teachers[0] if teachers else None
    return StudyRow(
        group="teacher",
        label=name or TEACHER_ROW,
        scores=scores,
        average=average_of_row(list(scores.values())),
        encoder_parameters=first.encoder_parameters if first else None,
        total_parameters=first.total_parameters if first else None,
        macs_at_128=first.macs_at_128 if first else None,
        printed=printed,
    )


def _majority_row(columns: Sequence[ScoreColumn], outcomes: Sequence[Outcome]) -> StudyRow:
    scores = {}
    for column in columns:
        # It depends on the data alone, so one run is enough.
        found = [run for run in outcomes if run.cell.task == column.task and run.result is not None]
        scores[column.key] = score_of(found[:1], column.of_majority)
    return StudyRow("majority", MAJORITY, scores, average_of_row(list(scores.values())))


def _results(outcomes: Iterable[Outcome]) -> list[RunResult]:
    return [outcome.result for outcome in outcomes if outcome.result is not None]
