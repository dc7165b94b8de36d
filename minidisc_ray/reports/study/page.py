"""A study's files: its table, its findings, its figures, and one page with all of them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from minidisc_ray.configs.printable import json_text
from minidisc_ray.configs.redact import redact, redacted
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.grid import values_text
from minidisc_ray.files.storage import Storage
from minidisc_ray.reports.pages.page import environment, page_figures
from minidisc_ray.reports.study.conclusions import conclusions
from minidisc_ray.reports.study.finding_notes import finding_notes
from minidisc_ray.reports.study.findings import finding_tables
from minidisc_ray.reports.study.gains import gain_table, rows_table
from minidisc_ray.reports.study.render import render_study, study_document, study_tables
from minidisc_ray.reports.study.table import StudyTable
from minidisc_ray.reports.tables import Format, Table, write
from minidisc_ray.reports.words import hours_text, percent_text
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import Outcome
from minidisc_ray.study.findings import Findings
from minidisc_ray.study.settings import Choice, every_outcome

_TEMPLATE = "study.html.jinja"
_KINDS = ("gains", "tradeoff", "assistants", "cost", "accuracy", "structure")


def render_whole_study(table: StudyTable, findings: Findings, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write the table and the findings, with secrets redacted; csv has the table alone, json both in full precision.

    Args:
        table: of the study.
        findings: of its runs.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    if format == "csv":
        return redact(render_study(table, format))
    if format == "json":
        return json_text(redacted(study_document(table) | {"findings": asdict(findings)}))
    text = render_study(table, format, width)
    found = _finding_tables(findings, table.num_seeds)
    notes = [*conclusions(findings), *finding_notes(findings, table.num_seeds)]
    rest = f"\n{write(format, [*found, Table(notes=notes)], (), width)}" if found or notes else ""
    return redact(text + rest)


def write_study(
    storage: Storage,
    folder: Path,
    study: StudyConfig,
    table: StudyTable,
    findings: Findings,
    outcomes: Sequence[Outcome],
    choices: Sequence[Choice] = (),
) -> Path:
    """Write ``study.yaml``, ``table.md``, ``table.csv``, ``study.json``, ``figures/`` and ``report.html``.

    Args:
        storage: to write to.
        folder: of the study's own files.
        study: with its budget applied.
        table: of its outcomes.
        findings: of its runs.
        outcomes: of its cells.
        choices: of a study with a grid; the page lists its runs, figures leave out settings that were not chosen.

    Returns:
        The page's path.
    """
    # Imported here, so that only what writes a page loads matplotlib.
    from minidisc_ray.reports.figures import drawings_of, write_figures

    config_text = yaml.safe_dump(redacted(study.model_dump(mode="json")), sort_keys=False, allow_unicode=True)
    storage.write_text(folder / "study.yaml", config_text)
    storage.write_text(folder / "table.md", render_whole_study(table, findings, "md"))
    storage.write_text(folder / "table.csv", render_whole_study(table, findings, "csv"))
    storage.write_text(folder / "study.json", render_whole_study(table, findings, "json"))
    results = _results(outcomes)
    over_conventional = [found for found in findings.differences if found.against == study.conventional]
    drawings = drawings_of(results, _one_of_each_task(results), findings.gains, findings.gain_trends, over_conventional)
    write_figures(storage, folder / "figures", {drawing.name: drawing.figure for drawing in drawings})
    every = every_outcome(outcomes, choices)
    num_finished = sum(outcome.result is not None for outcome in every.values())
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            study=table,
            tables=[_scores_first(each) for each in study_tables(table)],
            conclusions=conclusions(findings),
            findings=_finding_tables(findings, table.num_seeds),
            finding_notes=finding_notes(findings, table.num_seeds),
            gains=gain_table(findings),
            drawings=page_figures(drawings, *_KINDS),
            progress=f"{num_finished} of {len(every)} runs finished",
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            runs=[_run_row(outcome, study) for outcome in every.values()],
            config_text=config_text,
            versions=sorted(results[0].versions.items()) if results else [],
        )
    )
    path = folder / "report.html"
    storage.write_text(path, page)
    return path


def _finding_tables(findings: Findings, num_seeds: int) -> list[Table]:
    by_rows = rows_table(findings)
    return [*finding_tables(findings, num_seeds), *([by_rows] if by_rows is not None else [])]


def _results(outcomes: Sequence[Outcome]) -> list[RunResult]:
    """The finished runs, each once, with the study's own name of their task: several may be of one task."""
    found = {one.name: (one.cell.task, one.result) for one in outcomes if one.result is not None}
    return [result.model_copy(update={"task": task}) for task, result in found.values()]


def _scores_first(table: Table) -> Table:
    """The table with its columns by priority: a page scrolls where a terminal drops columns, so these come last."""
    return replace(table, columns=tuple(sorted(table.columns, key=lambda column: column.priority)))


def _one_of_each_task(results: Sequence[RunResult]) -> list[RunResult]:
    """One run with candidates of each task and scale: structures of other seeds are not drawn, for they look alike."""
    found: dict[tuple[str, int], RunResult] = {}
    for result in results:
        if result.method in ("minidisc", "auto") and result.candidates:
            found.setdefault((result.task, result.student.scale_percent), result)
    return list(found.values())


def _run_row(outcome: Outcome, study: StudyConfig) -> tuple[str, ...]:
    cell, result = outcome.cell, outcome.result
    setting = ""
    if study.grid is not None and cell.setting is not None:
        setting = f" ({values_text(study.grid.settings[cell.setting])})"
    scale = "" if cell.scale_percent is None else f"{cell.scale_percent}%"
    start = (outcome.name, f"{cell.method}{setting}", cell.task, str(cell.seed), scale)
    if result is None:
        return (*start, "failed" if outcome.failure else "not finished", "")
    metric = result.student.validation_metrics[result.primary_metric]
    return (*start, percent_text(metric), hours_text(result.cost.useful_device_hours))
