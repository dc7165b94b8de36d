"""Print a run or a study before it starts, and a result."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from minidisc_ray.cli.options import print_line
from minidisc_ray.configs.study.grid import values_text
from minidisc_ray.configs.study.study import Cell, methods_without_runs
from minidisc_ray.data.quoting import listed
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.held import teacher_hours
from minidisc_ray.reports.run.candidates import candidate_table, lambda_scan_line, trial_table
from minidisc_ray.reports.run.early_end import early_end_line
from minidisc_ray.reports.run.plan_warnings import plan_warnings
from minidisc_ray.reports.run.predictions import classes_never_found
from minidisc_ray.reports.run.race import chose_no_assistant, race_line, race_table
from minidisc_ray.reports.tables import Column, Table, show
from minidisc_ray.reports.words import compute_text, hours_text, percent_text, price_text
from minidisc_ray.run_files.family import FAMILY
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.study.cells import read_outcome

if TYPE_CHECKING:
    from minidisc_ray.api.studies import PreparedStudy

_FINISHED = "finished"


def show_run(console: Console, prepared: PreparedRun) -> None:
    """Print the name, schedule and folder of a run that is about to start, and what ``plan`` warns of."""
    print_line(console, f"{prepared.name}: {prepared.config.schedule.kind}, in {prepared.run_folder}")
    for note in prepared.splits.notes:
        print_line(console, f"note: {note}")
    # A finished run only shows its result, and warnings need every row encoded.
    if (prepared.run_folder / "result.json").is_file():
        return
    # Encodings are kept in the storage; should it be away or full, the run waits for it.
    with suppress(OSError):
        for warning in plan_warnings(prepared):
            print_line(console, f"warning: {warning}")


def show_study(console: Console, study: "PreparedStudy", with_runs: bool) -> int:
    """Print a study's budget, runs and resources in one line, and tables of its runs if asked.

    Args:
        console: to print on.
        study: with its budget applied.
        with_runs: whether to list the runs.

    Returns:
        How many runs are finished.
    """
    config = study.config
    states = {run.name: _state_of(run) for run in study.runs}
    num_finished = list(states.values()).count(_FINISHED)
    budget = f", budget {config.budget}" if config.budget is not None else ""
    of_grid = f" ({len(study.grid_runs)} of them in the grid)" if study.grid_prepared else ""
    print_line(
        console,
        f"{config.name}{budget}: {study.num_runs} runs{of_grid}, {num_finished} of them finished, each trial "
        f"on {compute_text(study.runs[0].config.compute)}, in {study.folder}",
    )
    for sentence in methods_without_runs(config):
        print_line(console, sentence)
    if with_runs:
        _show_runs(console, study, states)
    return num_finished


def show_failures(console: Console, storage: Path, failed: Mapping[str, str]) -> None:
    """Print why runs of a study have no result, and how to try them again.

    Args:
        console: to print on.
        storage: that has the runs.
        failed: the reason, by the run's name.
    """
    for name, reason in failed.items():
        print_line(console, f"minidisc: {name} failed: {reason}")
    # A flaw of a result is no failure of its run; its sentence says what to do.
    flawed = [name for name in failed if (storage / name / "result.json").exists()]
    if len(flawed) < len(failed):
        print_line(console, f"minidisc: --retry-failed runs only {'the others' if flawed else 'these'}")


def _state_of(run: PreparedRun) -> str:
    result, reason = read_outcome(run.run_folder, run.config, run.name)
    if result is not None:
        return _FINISHED
    if reason is None:
        return "not finished"
    return "damaged" if (run.run_folder / "result.json").exists() else "failed"


def _show_runs(console: Console, study: "PreparedStudy", states: Mapping[str, str]) -> None:
    if not study.grid_prepared:
        show(console, [_runs_table(study, list(zip(study.cells, study.prepared, strict=True)), states)])
        return
    tried = list(zip(study.grid_cells, study.grid_prepared, strict=True))
    seen = {run.name for run in study.grid_prepared}
    then = [(cell, run) for cell, run in zip(study.cells, study.prepared, strict=True) if run.name not in seen]
    seed = study.config.grid_seed
    rest = [(cell, None) for cell in study.open_cells if cell.seed != seed]
    show(console, [replace(_runs_table(study, tried, states), title=f"The grid's runs, seed {seed}")])
    if then or rest:
        title = "Then, with the chosen settings"
        show(console, [replace(_runs_table(study, [*then, *rest], states), title=title)])
    else:
        print_line(console, "Then nothing: every run has the grid's seed.")


def _runs_table(
    study: "PreparedStudy", cells: Sequence[tuple[Cell, PreparedRun | None]], states: Mapping[str, str]
) -> Table:
    grid = study.config.grid

    def setting(row: tuple[Cell, PreparedRun | None]) -> str:
        chosen = row[0].setting
        return values_text(grid.settings[chosen]) if grid is not None and chosen is not None else "to be chosen"

    columns = (
        *([Column("Teacher", lambda row: row[0].teacher, is_number=False)] if study.config.teachers else []),
        Column("Method", lambda row: row[0].method, is_number=False),
        Column("Task", lambda row: row[0].task, is_number=False),
        Column("Scale", lambda row: row[0].scale_percent, unit="%"),
        Column("Seed", lambda row: row[0].seed),
        *([Column(" / ".join(grid.values), setting, is_number=False)] if grid is not None else []),
        Column("Run", lambda row: row[1] and row[1].name, is_number=False),
        Column("", lambda row: states[row[1].name] if row[1] else "not finished", is_number=False),
    )
    return Table(columns=columns, rows=cells)


def show_result(console: Console, folder: Path, result: RunResult) -> None:
    """Print a result: candidates or trials, the choice, score, cost and paths."""
    if result.trials:
        show(console, [trial_table(result)])
    elif len(result.candidates) > 1:
        show(console, [candidate_table(result), *([race_table(result)] if result.race else [])])
    chosen = ", ".join(f"{model.scale_percent}%" for model in result.assistants)
    if chose_no_assistant(result):
        print_line(console, "assistant: none, the student learned from the teacher")
    elif chosen:
        between = "sparse teacher" if result.method == "sparse_teacher" else "assistant"
        print_line(console, f"{between}: {chosen} ({result.selection_rule or 'given'})")
    if result.choice_by_lambda:
        print_line(console, lambda_scan_line(result))
    if result.decision is not None:
        print_line(console, result.decision.sentence)
    if result.race:
        print_line(console, race_line(result))
    if result.early_end is not None:
        print_line(console, early_end_line(result))
    metric = result.primary_metric
    print_line(
        console,
        f"student at {result.student.scale_percent}%: {metric} "
        f"{percent_text(result.student.validation_metrics[metric])} on validation; teacher "
        f"{percent_text(result.teacher.validation_metrics[metric])}, majority class "
        f"{percent_text(result.majority_metrics[metric])}",
    )
    if result.teacher_warning is not None:
        print_line(console, f"warning: {result.teacher_warning}")
    if result.student.validation_metrics[metric] <= result.majority_metrics[metric]:
        print_line(console, "the student is no better than the majority class: it has learned nothing")
    elif never := classes_never_found(folder, result):
        print_line(
            console, f"warning: the student finds no validation row of {listed(never)}; report.html has each class"
        )
    cost = result.cost
    lost = f" ({hours_text(cost.lost_device_hours)} of them lost and repeated)" if cost.lost_device_hours else ""
    price = f"; {price_text(cost.price)} {cost.currency} for both" if cost.price is not None else ""
    stage = next((stage for stage in cost.stages if stage.stage == "teacher"), None)
    notes = [f"{hours_text(stage.lost_device_hours)} of them lost"] if stage and stage.lost_device_hours else []
    notes += ["reused"] if stage and stage.reused else []
    teacher_notes = f" ({', '.join(notes)})" if notes else ""
    teacher = f"; {hours_text(teacher_hours(cost))} for its teacher{teacher_notes}" if stage else ""
    print_line(
        console,
        f"cost: {hours_text(cost.device_hours)} {cost.device_unit}{lost}, and "
        f"{hours_text(cost.startup_device_hours)} for start-up{price}{teacher}; "
        f"{cost.training_flops / 1e12:.3g} training TFLOPs",
    )
    print_line(console, f"student: {folder / 'student'}")
    if (folder / FAMILY).is_dir():
        print_line(console, f"family:  {folder / FAMILY}, its other sizes (minidisc extract)")
    print_line(console, f"report:  {folder / 'report.html'}")
