"""A study's chosen settings: a table of them with every setting's score, and what the search cost."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.grid import values_text
from minidisc_ray.configs.study.study import Place
from minidisc_ray.reports.comparison.table import mean
from minidisc_ray.reports.study.labels import row_label
from minidisc_ray.reports.study.scores import FAILED, UNFINISHED
from minidisc_ray.reports.tables import Column, Table
from minidisc_ray.reports.words import percent_text
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.settings import Choice

# Task, student scale and seed -> the conventional run.
Bases = Mapping[tuple[str, int | None, int], RunResult]


def search_ratios(choices: Sequence[Choice], row: Place, bases: Bases, seed: int) -> tuple[float | None, float | None]:
    """What the runs of settings that were not chosen cost: device-hours and FLOPs, relative to the conventional run.

    Means over the places whose setting is chosen and that have a conventional run; None without one.

    Args:
        choices: of the study.
        row: one of the places of the row; the others differ from it in their task.
        bases: the conventional runs.
        seed: the grid's.
    """
    hours, flops = [], []
    for choice in choices:
        used = choice.chosen_result
        if used is None or choice.place._replace(task=row.task) != row:
            continue
        # The scale of a student of some layers is known from its result only.
        base = bases.get((choice.place.task, choice.place.scale_percent or used.student.scale_percent, seed))
        if base is None:
            continue
        unused = [run.cost for run in choice.unused]
        if base.cost.device_hours:
            hours.append(sum(cost.device_hours for cost in unused) / base.cost.device_hours)
        # Of training alone if a run did not count evaluation.
        has_all = all(cost.flops is not None for cost in (*unused, base.cost))
        spent = sum((cost.flops or 0.0) if has_all else cost.training_flops for cost in unused)
        if of_base := base.cost.flops if has_all else base.cost.training_flops:
            flops.append(spent / of_base)
    return mean(hours), mean(flops)


def settings_tables(study: StudyConfig, choices: Sequence[Choice]) -> list[Table]:
    """The chosen setting of each method, task and scale, and every setting's selection score; none without a grid."""
    if study.grid is None or not choices:
        return []
    settings = study.grid.settings

    def chosen(choice: Choice) -> str:
        if choice.chosen is None:
            return FAILED if choice.failure else UNFINISHED
        return values_text(settings[choice.chosen])

    columns = [
        *([Column("Teacher", lambda one: one.place.teacher, is_number=False)] if study.teachers else []),
        Column("Method", lambda one: row_label(one.place.method, one.place.scale_percent), is_number=False),
        Column("Task", lambda one: one.place.task, is_number=False),
        Column("Chosen", chosen, is_number=False),
        *(
            Column(values_text(setting), partial(_score_text, number), priority=1)
            for number, setting in enumerate(settings)
        ),
    ]
    title = f"Chosen settings: {' / '.join(study.grid.values)}; scores on the selection rows, seed {study.grid_seed}"
    return [Table(title, tuple(columns), list(choices))]


def settings_document(study: StudyConfig, choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """An entry for each place: its chosen setting, and every run of the grid, in full precision."""
    if study.grid is None:
        return []
    settings = study.grid.settings
    return [
        {
            **choice.place._asdict(),
            "seed": study.grid_seed,
            "chosen": None if choice.chosen is None else settings[choice.chosen],
            "failure": choice.failure,
            "runs": [
                {"setting": setting, "run": run.name, "selection_score": score, "failure": run.failure} | _costs(run)
                for setting, run, score in zip(settings, choice.runs, choice.scores, strict=True)
            ],
        }
        for choice in choices
    ]


def settings_notes(study: StudyConfig, choices: Sequence[Choice]) -> list[str]:
    """What the search chose by, and what its columns count; none without a grid."""
    if study.grid is None or not choices:
        return []
    note = (
        f"Settings ({', '.join(study.grid.values)}) were searched for every method alike: the one whose student scores "
        f"best on the selection rows with seed {study.grid_seed} is used for all seeds, of equal ones the first."
    )
    costs = (
        "Search hours and Search FLOPs: of the finished runs of the other settings, each charged whole, as multiples "
        f"of one {study.conventional} run; the other ratios are without them."
    )
    return [note, *([costs] if study.conventional is not None else [])]


def _score_text(number: int, choice: Choice) -> str:
    run, score = choice.runs[number], choice.scores[number]
    if score is not None:
        return percent_text(score)
    return UNFINISHED if run.result is None and run.failure is None else FAILED


def _costs(run: Outcome) -> dict[str, float | None]:
    cost = run.result.cost if run.result is not None else None
    return {
        "device_hours": cost.device_hours if cost is not None else None,
        "training_flops": cost.training_flops if cost is not None else None,
        "evaluation_flops": cost.evaluation_flops if cost is not None else None,
    }
