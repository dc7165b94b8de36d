"""What a terminal shows while a run is live, and after it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.run.candidates import candidate_table, lambda_scan_line, trial_table
from minidisc_ray.reports.run.early_end import early_end_line
from minidisc_ray.reports.run.race import chose_no_assistant, race_line, race_table
from minidisc_ray.reports.tables import Column, Table, rich_table, show, text_cell
from minidisc_ray.reports.words import compute_text, hours_text, percent_text, price_text
from minidisc_ray.run_files.family import FAMILY
from minidisc_ray.run_files.progress import Progress, Watch
from minidisc_ray.run_files.result import RunResult

_MOST_ROWS = 40


def show_run(console: Console, prepared: PreparedRun) -> None:
    """What is about to run, and where."""
    console.print(
        printable(f"{prepared.name}: {prepared.config.schedule.kind}, in {prepared.run_folder}"),
        soft_wrap=True,
        markup=False,
    )
    for note in prepared.splits.notes:
        _print_line(console, f"note: {note}")


@contextmanager
def watching_trials(console: Console) -> Iterator[Watch]:
    """A watch function that draws a live table on a terminal, and writes a line for each change elsewhere."""
    if not console.is_terminal:
        console.print(f"{_now()}  starting; stages that are finished are not run again", highlight=False)
        yield _Lines(console)
        return
    with Live(rich_table(_table([])), console=console, auto_refresh=False, transient=True) as live:
        yield lambda trials: live.update(rich_table(_table(trials)), refresh=True)


def show_study(
    console: Console, study: StudyConfig, folder: Path, cells: Sequence[tuple[Cell, PreparedRun]], with_runs: bool
) -> None:
    """A study's budget, runs and resources in one line; with a table of its runs if asked.

    Args:
        console: to write on.
        study: with its budget taken in.
        folder: of its own files.
        cells: its runs' places, each with its checked recipe.
        with_runs: whether to list them.
    """
    is_done = {run.name: (run.run_folder / "result.json").is_file() for _, run in cells}
    budget = f", budget {study.budget}" if study.budget is not None else ""
    console.print(
        f"{study.name}{budget}: {len(is_done)} runs, {sum(is_done.values())} of them finished, each trial on "
        f"{compute_text(cells[0][1].config.compute)}, in {printable(str(folder))}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if with_runs:
        show(console, [_runs_table(cells, is_done)])


def _runs_table(cells: Sequence[tuple[Cell, PreparedRun]], is_done: Mapping[str, bool]) -> Table:
    has_teachers = any(cell.teacher is not None for cell, _ in cells)
    columns = (
        *([Column("Teacher", lambda row: row[0].teacher, is_number=False)] if has_teachers else []),
        Column("Method", lambda row: row[0].method, is_number=False),
        Column("Task", lambda row: row[0].task, is_number=False),
        Column("Scale", lambda row: row[0].scale_percent, unit="%"),
        Column("Seed", lambda row: row[0].seed),
        Column("Run", lambda row: row[1].name, is_number=False),
        Column("", lambda row: "finished" if is_done[row[1].name] else "not finished", is_number=False),
    )
    return Table(columns=columns, rows=cells)


def show_result(console: Console, folder: Path, result: RunResult) -> None:
    """Candidates or trials, the choice, the score, and where everything is."""
    if result.trials:
        show(console, [trial_table(result)])
    elif result.candidates:
        show(console, [candidate_table(result), *([race_table(result)] if result.race else [])])
    chosen = ", ".join(f"{model.scale_percent}%" for model in result.assistants)
    if chose_no_assistant(result):
        _print_line(console, "assistant: none, the student learned from the teacher")
    elif chosen:
        between = "sparse teacher" if result.method == "sparse_teacher" else "assistant"
        _print_line(console, f"{between}: {chosen} ({result.selection_rule or 'given'})")
    if result.choice_by_lambda:
        _print_line(console, lambda_scan_line(result))
    if result.race:
        _print_line(console, race_line(result))
    if result.early_end is not None:
        _print_line(console, early_end_line(result))
    metric = result.primary_metric
    _print_line(
        console,
        f"student at {result.student.scale_percent}%: {metric} "
        f"{percent_text(result.student.validation_metrics[metric])} on validation; teacher "
        f"{percent_text(result.teacher.validation_metrics[metric])}, majority class "
        f"{percent_text(result.majority_metrics[metric])}",
    )
    if result.teacher_warning is not None:
        _print_line(console, f"warning: {result.teacher_warning}")
    if result.student.validation_metrics[metric] <= result.majority_metrics[metric]:
        console.print("the student is no better than the majority class: it has learned nothing", highlight=False)
    cost = result.cost
    lost = f" ({hours_text(cost.lost_device_hours)} of them lost and done again)" if cost.lost_device_hours else ""
    price = f"; {price_text(cost.price)} {cost.currency} for both" if cost.price is not None else ""
    made = next((stage for stage in cost.stages if stage.stage == "teacher"), None)
    notes = [f"{hours_text(made.lost_device_hours)} of them lost"] if made and made.lost_device_hours else []
    notes += ["made before"] if made and made.reused else []
    teacher_notes = f" ({', '.join(notes)})" if notes else ""
    teacher = f"; {hours_text(cost.teacher_device_hours)} for its teacher{teacher_notes}" if made else ""
    _print_line(
        console,
        f"cost: {hours_text(cost.device_hours)} {cost.device_unit}{lost}, and "
        f"{hours_text(cost.startup_device_hours)} for start-up{price}{teacher}; "
        f"{cost.training_flops / 1e12:.3g} training TFLOPs",
    )
    _print_line(console, f"student: {folder / 'student'}")
    if (folder / FAMILY).is_dir():
        _print_line(console, f"family:  {folder / FAMILY}, its other sizes (minidisc extract)")
    _print_line(console, f"report:  {folder / 'report.html'}")


def _print_line(console: Console, line: str) -> None:
    """One line, whatever is in the texts of which it is made."""
    console.print(text_cell(line), soft_wrap=True)


class _Lines:
    """A line, with its time, whenever a trial enters a stage, finishes an epoch or ends: for logs and job output."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seen: dict[str, tuple[str, int, str]] = {}

    def __call__(self, trials: Sequence[Progress]) -> None:
        for trial in trials:
            key = (trial.stage, trial.epoch, trial.status)
            if self.seen.get(trial.trial) != key:
                self.seen[trial.trial] = key
                _print_line(self.console, "  ".join((_now(), *_cells(trial))))


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")


def _table(trials: Sequence[Progress]) -> Table:
    # A terminal shows no thousand rows, and drawing them twice a second would keep a core busy.
    shown = trials if len(trials) <= _MOST_ROWS else [trial for trial in trials if trial.status != "finished"]
    rows = [_cells(trial) for trial in shown[:_MOST_ROWS]]
    if not trials:
        rows.append(["", "starting Ray", "", "", "", ""])
    if len(trials) > _MOST_ROWS:
        rows.append([f"{len(trials) - len(shown)} finished, {len(shown)} not", "", "", "", "", ""])
    return Table.of_texts(("Trial", "Stage", "Where", "Selection", "Held", ""), rows, num_names=6)


def _cells(trial: Progress) -> list[str]:
    where = f"epoch {trial.epoch}, step {trial.step}/{trial.num_steps}" if trial.num_steps else ""
    metric = f"{trial.metric_name} {trial.metric:.4f}" if trial.metric is not None else ""
    held = f"{trial.device_hours:.4f} device-hours"
    return [trial.trial, f"{trial.stage_index}/{trial.num_stages} {trial.stage}", where, metric, held, trial.status]
