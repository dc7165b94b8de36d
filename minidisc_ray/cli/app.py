"""The commands: parse, call, print. A user's mistake is one sentence and exit code 2; any other error is 1."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

import minidisc_ray
from minidisc_ray.cli import distillations as distillation_commands
from minidisc_ray.cli import exports as export_commands
from minidisc_ray.cli import models as model_commands
from minidisc_ray.cli import observations as observation_commands
from minidisc_ray.cli import storage as storage_commands
from minidisc_ray.cli.lines import log_lines
from minidisc_ray.cli.options import (
    RESUMES,
    STOPPED,
    Name,
    QuotingOption,
    RecipeFile,
    Set,
    Stopped,
    Storage,
    check_paths,
    console,
    early_cluster,
    fits_here,
    messages,
    overrides_of,
    print_error,
    print_line,
    print_stopped,
    stop_on_signals,
    when_stopped,
    work_is_done,
)
from minidisc_ray.cli.usage import USAGE_ERROR, usage_sentence
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import redact
from minidisc_ray.reports.tables import Format


def _show_version(is_asked: bool) -> None:
    if is_asked:
        console.print(f"minidisc {minidisc_ray.__version__}", highlight=False)
        raise typer.Exit


app = typer.Typer(
    name="minidisc",
    help="Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray."""


_RETRIES_STOPPED = "with --retry-failed the command retries the rest, without it resumes runs that had started"


@app.command()
def demo(
    storage: Annotated[str, typer.Option("--storage", metavar="DIR")] = "minidisc-runs",
    address: Annotated[
        str | None, typer.Option("--address", help="A Ray cluster; else RAY_ADDRESS, else local.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of data order, weights and sampling.")] = 0,
) -> None:
    """Train one student in four ways on the built-in task, and compare them."""
    with when_stopped(RESUMES), log_lines(console) as lines, early_cluster(address):
        from minidisc_ray.cli.demo import run_demo

        run_demo(storage, address, lines, seed)
        work_is_done()


@app.command()
def init(
    model: Annotated[str, typer.Option("--model", metavar="PATH_OR_NAME", help="A model folder or hub name.")],
    task: Annotated[
        str | None, typer.Option("--task", help="A GLUE task, for instance mrpc; leave it out for your own data.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FILE|DIR",
            help="Your own data; or a GLUE task's, by default ${MINIDISC_DATA}/TASK.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="By default TASK.yaml.")] = None,
    quoting: QuotingOption = None,
    drop_unlabelled: Annotated[
        bool, typer.Option("--drop-unlabelled", help="Leave out rows of your own data that have no label.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe, for a GLUE task or for your own data."""
    from minidisc_ray.cli.recipe_template import recipe_for

    path, text, said = recipe_for(task, data, model, quoting, output, os.cpu_count() or 1, drop_unlabelled)
    if path.exists() and path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--output: {path} exists and is no recipe, so it is kept; choose a name that ends with .yaml")
    if path.exists() and not force:
        raise UserError(f"--output: {path} exists; choose another name, or replace it with --force")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output: {path} cannot be written ({error.strerror})") from error
    for sentence in said:
        print_line(console, sentence)
    console.print(f"wrote {path}; next: minidisc plan {path}", soft_wrap=True)


@app.command()
def plan(
    recipe: RecipeFile,
    set_: Set = None,
    storage: Storage = None,
    name: Name = None,
    address: Annotated[
        str | None, typer.Option("--address", help="A Ray cluster, as for run: its nodes are looked at.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Time a few real steps; predict hours, duration, price of each schedule.")
    ] = False,
    format_: Annotated[Literal["table", "json"], typer.Option("--format", help="For --estimate: table or json.")] = (
        "table"
    ),
) -> None:
    """Check a recipe against its data and model, and print steps, sizes and closed-form cost; starts nothing."""
    from minidisc_ray import api

    overrides = overrides_of(set_, storage, name, address)
    if estimate:
        from minidisc_ray.reports.run.estimate import render_estimate

        if messages.is_terminal:
            messages.print("timing a few real steps of every stage; about a minute or two", soft_wrap=True)
        with when_stopped("no timing was saved; the same command starts from the beginning"):
            found = api.estimate(recipe, overrides)
        print(render_estimate(found, format_), end="")  # noqa: T201 - json must not be wrapped
        return
    if format_ != "table":
        raise UserError("--format: json needs --estimate; add it, or leave --format out")
    api.describe_plan(recipe, overrides).show(console)


@app.command()
def run(
    recipe: RecipeFile,
    set_: Set = None,
    storage: Storage = None,
    name: Name = None,
    address: Annotated[
        str | None, typer.Option("--address", help="A Ray cluster; else RAY_ADDRESS, else local.")
    ] = None,
) -> None:
    """Run a recipe; the same command again resumes, or shows the result."""
    with when_stopped(RESUMES):
        from minidisc_ray.api.recipes import config_of

        config = config_of(recipe, overrides_of(set_, storage, name, address))
        # Ray is started later where no trial fits this machine: the run may be finished, else it is refused.
        early = early_cluster(config.compute.address) if fits_here(config.compute) else nullcontext()
        with log_lines(console) as lines, early:
            from minidisc_ray import api
            from minidisc_ray.cli.display import show_result, show_run
            from minidisc_ray.cli.live import watching_trials

            prepared = api.plan(config)
            show_run(console, prepared)
            with watching_trials(lines) as watch:
                result = api.run_prepared(prepared, watch)
            # Before Ray ends, which takes seconds.
            show_result(console, prepared.run_folder, result)
            work_is_done()


@app.command()
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY", help="A study file; studies/ has the paper's tables.")],
    budget: Annotated[
        str | None, typer.Option("--budget", help="One of the study's budgets; by default the one it names.")
    ] = None,
    set_: Set = None,
    storage: Storage = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run only what failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list the runs, start nothing.")] = False,
    report_only: Annotated[
        bool, typer.Option("--report", help="Print the table of what is finished and write the page; start nothing.")
    ] = False,
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Only these of the study's tasks, separated by commas.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
) -> None:
    """Run methods x tasks x scales x seeds as one experiment, and print one table in the paper's layout."""
    hint = "nothing was started" if dry_run or report_only else _RETRIES_STOPPED if retry_failed else RESUMES
    out = Console(stderr=True) if format_ in ("csv", "json") else console
    with when_stopped(hint):
        from minidisc_ray.api import studies
        from minidisc_ray.cli.display import show_failures, show_study
        from minidisc_ray.cli.live import watching_trials
        from minidisc_ray.reports.study.page import render_whole_study

        if report_only and (dry_run or retry_failed):
            raise UserError(f"--report starts nothing; leave out {'--dry-run' if dry_run else '--retry-failed'}")
        if messages.is_terminal:
            messages.print("checking the study's recipes", soft_wrap=True)
        names = None if tasks is None else [name.strip() for name in tasks.split(",")]
        prepared = studies.prepare_study(file, set_ or [], budget, storage, names)
        num_finished = show_study(out, prepared, with_runs=dry_run)
        if dry_run:
            return
        if report_only:
            if not num_finished:
                raise UserError(f"--report: no run of this study is finished in {prepared.folder.parent}")
            report = studies.report_study(prepared)
        else:
            with log_lines(out) as lines, watching_trials(lines) as watch:
                report = studies.run_study(prepared, watch, retry_failed)
    print(render_whole_study(report.table, report.findings, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    print_line(out, f"page: {report.page}")
    if report.table.failed:
        show_failures(messages, prepared.folder.parent, report.table.failed)
        raise typer.Exit(1)


for command in (
    storage_commands.compare,
    storage_commands.status,
    storage_commands.ls,
    storage_commands.stop,
    model_commands.predict,
    model_commands.evaluate,
    model_commands.profile,
    export_commands.export,
    export_commands.extract,
    export_commands.push,
    observation_commands.observe,
    observation_commands.features,
    distillation_commands.importance,
    distillation_commands.recommend,
    storage_commands.clean,
):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command in ``arguments``, by default the process's own, and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    stop_on_signals(given)
    try:
        check_paths(given)
        code = app(given, standalone_mode=False, prog_name="minidisc")
    except USAGE_ERROR as error:
        if not given:
            error.show()  # type: ignore[attr-defined]  # the whole help
        else:
            print_error(UserError(usage_sentence(error)))
        sys.exit(2)
    except UserError as error:
        print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print_stopped()
        sys.exit(STOPPED)
    except Stopped as ended:
        print_stopped(ended.hint, ended.requested_by)
        raise
    except Exception as error:  # noqa: BLE001 - every error is printed
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            name = max(Path(str(error.filename)).parts, key=len)
            print_error(
                UserError(f"{name[:60]}...: {len(name)} characters are too long for a file's name; give another")
            )
            sys.exit(2)
        if os.environ.get("MINIDISC_TRACEBACK"):
            sys.stderr.write(redact(traceback.format_exc()))
            sys.exit(1)
        # UserError makes it one printable line without secrets.
        print_error(UserError(" ".join(str(error).split()) or type(error).__name__))
        messages.print("minidisc: set MINIDISC_TRACEBACK=1 for the traceback", soft_wrap=True)
        sys.exit(1)
    if code == STOPPED:
        # Typer turns a KeyboardInterrupt in a command into this code, without a message.
        print_stopped()
    sys.exit(code or 0)
