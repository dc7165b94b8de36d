"""Notes that explain a study's table."""

from collections.abc import Mapping, Sequence

from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.configs.study.base import AVERAGE, PaperConfig, StudyConfig
from minidisc_ray.configs.study.study import methods_without_runs
from minidisc_ray.reports.comparison.render import majority_notes, seen_warning, selection_note
from minidisc_ray.reports.study.columns import ScoreColumn
from minidisc_ray.reports.study.marks import Marks, listed
from minidisc_ray.reports.study.paper import average_of, other_teacher_note, printed_for
from minidisc_ray.reports.study.scores import UNFINISHED
from minidisc_ray.reports.study.settings import settings_notes
from minidisc_ray.reports.words import metric_title, seeds_text
from minidisc_ray.run_files.result import ModelRecord
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.settings import Choice, every_outcome

Shown = Sequence[tuple[ModelRecord | None, Sequence[ScoreColumn]]]


def notes_of(
    study: StudyConfig, outcomes: Sequence[Outcome], marks: Marks, blocks: Shown, choices: Sequence[Choice] = ()
) -> list[str]:
    """The notes below the table: problems, progress, what the numbers mean; warnings come last.

    Args:
        study: of the table.
        outcomes: of its cells.
        marks: footnotes of the table's cells.
        blocks: each teacher with its columns.
        choices: of a study with a grid.
    """
    by_name = {one.name: (one.cell.task, one.result) for one in outcomes if one.result is not None}
    of_tasks, results = list(by_name.values()), [result for _, result in by_name.values()]
    notes = [*marks.notes(), *_progress(every_outcome(outcomes, choices))]
    if results:
        split = ", or ".join(dict.fromkeys(result.selection_split for result in results))
        has_deviations = len({result.seed for result in results}) > 1
        notes += [selection_note(split, results[0].protocol, has_deviations) + _metrics(blocks), _costs(study)]
        notes += majority_notes([(task, run.primary_metric, run.majority_of) for task, run in of_tasks])
        notes += [*settings_notes(study, choices), *_matched(study, outcomes), *_decided(study, outcomes)]
        notes += _fewer_seeds(study)
    notes += [f"{sentence}." for sentence in methods_without_runs(study)]
    notes += _paper(study.paper, blocks) if study.paper is not None else []
    seen = [task for task, run in of_tasks if run.teacher_may_have_seen_selection]
    warned = {task: run.teacher_warning for task, run in of_tasks if run.teacher_warning is not None}
    notes += [f"On {task} {warning}." for task, warning in warned.items()]
    return notes + ([seen_warning(seen)] if seen else [])


def _progress(by_name: Mapping[str, Outcome]) -> list[str]:
    failed = [name for name, one in by_name.items() if one.failure is not None]
    unfinished = [name for name, one in by_name.items() if one.result is None and one.failure is None]
    if not failed and not unfinished:
        return []
    text = f"{len(by_name) - len(failed) - len(unfinished)} of {len(by_name)} runs are finished"
    text += f", {len(failed)} failed" if failed else ""
    return [text + (f"; not finished ({UNFINISHED}): {listed(unfinished)}." if unfinished else ".")]


def _metrics(blocks: Shown) -> str:
    titles: dict[str, list[str]] = {}
    for column in (column for _, columns in blocks for column in columns if column.metric):
        of_metric = titles.setdefault(metric_title(column.metric or ""), [])
        of_metric += [column.title] if column.title not in of_metric else []
    return " " + "; ".join(f"{metric}: {', '.join(columns)}" for metric, columns in titles.items()) + "."


def _costs(study: StudyConfig) -> str:
    ratios = (
        f"Ratios of device-hours, and of FLOPs of training and evaluation, are to {study.conventional} of the same "
        "teacher, task, scale and seed, averaged over the tasks and seeds that both have; teacher fine-tuning and "
        "start-up are in neither."
        if study.conventional is not None
        else "There is no conventional method, so there are no ratios."
    )
    return f"MACs: multiply-adds of one row of 128 tokens, what the papers print as FLOPs. {ratios}"


def _fewer_seeds(study: StudyConfig) -> list[str]:
    methods = {name: study.seeds_of(name) for name in study.methods}
    return [
        f"{name} runs with {seeds_text(len(seeds))} of {len(study.seeds)}: {', '.join(map(str, seeds))}."
        for name, seeds in methods.items()
        if 0 < len(seeds) < len(study.seeds)
    ]


def _matched(study: StudyConfig, outcomes: Sequence[Outcome]) -> list[str]:
    found = {
        one.cell.method
        for one in outcomes
        if isinstance(one.cell.config.schedule, ConventionalConfig) and one.cell.config.schedule.match is not None
    }
    methods = [method for method in study.methods if method in found]
    if not methods:
        return []
    verb, possessive = ("is", "its") if len(methods) == 1 else ("are", "their")
    return [
        f"{' and '.join(methods)} {verb} matched in FLOPs, in closed form, so {possessive} hours may differ from "
        "those of the method matched."
    ]


def _decided(study: StudyConfig, outcomes: Sequence[Outcome]) -> list[str]:
    """How often each method with ``schedule.kind: auto`` used an assistant, since its mean is over both ways."""
    notes = []
    for method in study.methods:
        of_method = [one.result.decision for one in outcomes if one.result and one.cell.method == method]
        found = [decision.uses_assistant for decision in of_method if decision is not None]
        if found:
            notes.append(f"{method} used an assistant in {sum(found)} of {len(found)} runs.")
    return notes


def _paper(paper: PaperConfig, blocks: Shown) -> list[str]:
    notes = []
    for teacher, columns in blocks:
        if teacher is None:
            continue
        table = printed_for(paper, teacher)
        if table is None:
            notes.append(other_teacher_note(paper, teacher))
            continue
        notes.append("Lines that begin with paper: the figures as printed, for a teacher of this size.")
        has_average = any(AVERAGE in figures for by_scale in table.rows.values() for figures in by_scale.values())
        if has_average and set(average_of(table)) != {column.key for column in columns}:
            notes.append(f"The paper's average is not shown: it is of {', '.join(average_of(table))}.")
    return list(dict.fromkeys(notes))
