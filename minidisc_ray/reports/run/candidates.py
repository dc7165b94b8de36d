"""One run's assistant candidates, what other values of lambda would choose, and a sweep's trials."""

from dataclasses import dataclass

from rich import box
from rich.table import Table

from minidisc_ray.configs.printable import printable
from minidisc_ray.reports.cells import text_cell
from minidisc_ray.reports.words import hours_text, metric_title, percent_text, share_text, trained_text
from minidisc_ray.run_files.result import CandidateRecord, RunResult, TrialRecord

CHOSEN_MARK = "◀ chosen"
BEST_MARK = "◀ best"


@dataclass(frozen=True)
class CandidateRow:
    """A candidate as plain data, with whether it was chosen."""

    candidate: CandidateRecord
    chosen: bool


@dataclass(frozen=True)
class TrialRow:
    """A sweep's trial as plain data, with whether its student was the one that was kept."""

    trial: TrialRecord
    best: bool


def candidate_rows(result: RunResult) -> list[CandidateRow]:
    """The candidates, largest first."""
    chosen = {model.scale_percent for model in result.assistants}
    largest_first = sorted(result.candidates, key=lambda candidate: -candidate.scale_percent)
    return [CandidateRow(candidate, candidate.scale_percent in chosen) for candidate in largest_first]


def trial_rows(result: RunResult) -> list[TrialRow]:
    """The trials in the order they were planned; the best is the one whose assistant led to the student kept."""
    kept = {model.scale_percent for model in result.assistants}
    return [
        TrialRow(trial, best=trial.status == "finished" and trial.assistant_percent in kept) for trial in result.trials
    ]


def lambda_scan_line(result: RunResult) -> str:
    """What each lambda would choose, as one line; empty where nothing was chosen."""
    by_value = sorted(result.choice_by_lambda.items(), key=lambda item: _number(item[0]))
    if not by_value:
        return ""
    epochs = result.epoch_by_lambda
    choices = [f"{lam} → {scale}%" + (f" (epoch {epochs[lam]})" if lam in epochs else "") for lam, scale in by_value]
    same = "" if epochs else "; all at the epoch that the run's own value kept"
    return printable(f"λ {', '.join(choices)}{same}", kept="")


def selection_title(result: RunResult) -> str:
    """What choices use, as a heading."""
    own = result.selection_metric
    return metric_title(result.primary_metric) if own in (None, result.primary_metric) else str(own)


def candidate_table(result: RunResult) -> Table:
    """The candidates for a terminal; metrics are of the selection rows, in percent."""
    metric = selection_title(result)
    table = titled_table(f"Assistant candidates, {metric} on: {result.selection_split}")
    for heading in ("Scale", metric, "λ-tradeoff", "Negative derivative"):
        table.add_column(text_cell(heading), justify="right", overflow="fold")
    table.add_column("Trained", overflow="fold")
    for heading in ("Heads kept", "Neurons kept"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for row in candidate_rows(result):
        candidate = row.candidate
        cells = (
            f"{candidate.scale_percent}%",
            percent_text(candidate.metric),
            f"{candidate.lambda_tradeoff:.4f}",
            f"{candidate.negative_derivative:.3f}",
            trained_text(candidate.trained),
            share_text(candidate.kept_share.get("heads")),
            share_text(candidate.kept_share.get("neurons")),
            CHOSEN_MARK if row.chosen else "",
        )
        table.add_row(*map(text_cell, cells), style="bold" if row.chosen else None)
    return table


def trial_table(result: RunResult) -> Table:
    """The sweep's trials for a terminal; metrics in percent, hours in the run's unit."""
    metric = metric_title(result.primary_metric)
    table = titled_table(f"Trials, {metric} in percent; selected on: {result.selection_split}")
    table.add_column("Assistant", justify="right", overflow="fold")
    table.add_column("Status", overflow="fold")
    unit = result.cost.device_unit
    for heading in ("Assistant selection", "Student selection", "Student validation", unit[0].upper() + unit[1:]):
        table.add_column(text_cell(heading), justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for row in trial_rows(result):
        trial = row.trial
        cells = (
            f"{trial.assistant_percent}%",
            trial.status,
            percent_text(trial.assistant_selection),
            percent_text(trial.student_selection),
            percent_text(trial.student_validation),
            hours_text(trial.device_hours),
            BEST_MARK if row.best else trial.reason or "",
        )
        table.add_row(*map(text_cell, cells), style="bold" if row.best else None)
    return table


def titled_table(title: str) -> Table:
    """A table for a terminal, its title above it."""
    return Table(
        title=text_cell(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
