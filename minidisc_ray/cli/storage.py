"""Commands for the runs of a storage: compare, status, ls, stop, clean."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minidisc_ray.cli.options import console, print_error, print_line, when_stopped
from minidisc_ray.cli.places import (
    DEFAULT_STORAGE,
    StorageArgument,
    StorageOption,
    complete_finished,
    complete_run,
    complete_running,
    run_place,
    storage_of,
)
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.storage import SHARED_FOLDER
from minidisc_ray.files.places import place_of, place_text
from minidisc_ray.reports.tables import Format

if TYPE_CHECKING:
    from minidisc_ray.reports.storage.views import View

Place = Annotated[
    Path | None,
    typer.Argument(
        metavar="STORAGE|RUN", help="A storage folder, a run's, or a run's name.", autocompletion=complete_run
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Repeat every two seconds until Ctrl-C.")]
_STILL_RUNNING = 1
_WATCH_SECONDS = 2
_MAX_NAMES = 5


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Finished runs, or a storage folder of them; by default all of the storage.",
            autocompletion=complete_finished,
        ),
    ] = None,
    storage: StorageOption = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
    scan: Annotated[
        bool, typer.Option("--scan", help="Also print each MiniDisc run's choice for other lambdas.")
    ] = False,
) -> None:
    """Compare finished runs, in one table for each task, with costs relative to conventional."""
    from minidisc_ray import api
    from minidisc_ray.reports.comparison.render import render
    from minidisc_ray.reports.run.candidates import lambda_scan_line
    from minidisc_ray.run_files.fetching import fetch_summaries
    from minidisc_ray.run_files.result import load_result

    places = [run_place(run, storage) for run in runs] if runs else [storage or DEFAULT_STORAGE]
    results, num_damaged = [], 0
    for folder in (folders := _finished_runs([fetch_summaries(place) for place in places])):
        try:
            results.append(load_result(folder))
        except UserError as error:
            if len(folders) == 1:
                raise
            print_error(UserError(f"{error}; left out"))
            num_damaged += 1
    if not results:
        raise UserError("none of these results can be read")
    print(render(api.compare(results), format_), end="")  # noqa: T201 - csv and json must not be wrapped
    if format_ == "table":
        for result in results:
            if result.decision is not None:
                print_line(console, f"{result.name}: {result.decision.summary}")
    if scan:
        scanned = [result for result in results if result.choice_by_lambda]
        for result in scanned:
            print_line(console, f"{result.name}: {lambda_scan_line(result)}")
        if not scanned and format_ == "table":
            console.print("none of these runs chose by λ once all candidates were trained", soft_wrap=True)
    if num_damaged:
        raise typer.Exit(1)


def status(
    place: Place = None,
    storage: StorageOption = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
    watch: Watch = False,
) -> None:
    """Show runs and trials: stage, step, metric, device-hours, live."""
    from minidisc_ray.reports.storage.views import BY_TRIAL

    _show(BY_TRIAL, _place(place, storage), format_, watch)


def ls(
    place: Place = None,
    storage: StorageOption = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
    watch: Watch = False,
) -> None:
    """List runs and studies of a storage folder, last changed first: state, score, cost, size, driver."""
    from minidisc_ray.reports.storage.views import BY_RUN

    _show(BY_RUN, _place(place, storage), format_, watch)


def _place(argument: Path | None, option: Path | None) -> Path:
    """The folder that ``ls`` and ``status`` show: a run where its name is given, else the storage."""
    if argument is None or argument == DEFAULT_STORAGE:
        return storage_of(argument, option)
    if (run := run_place(argument, option)) != argument:
        return run
    return storage_of(argument, option)


def _show(view: "View", place: Path, format_: Format, watch: bool) -> None:
    """Print a view of a storage or a run, once or repeatedly until Ctrl-C."""
    from minidisc_ray.reports.tables import fitted, rich_table, show, text_cell
    from minidisc_ray.run_files.fetching import fetch_summaries

    def find() -> Sequence[Any]:
        # The default folder is missing before the first run; any other one has to exist.
        is_fresh = place == DEFAULT_STORAGE and not place.exists()
        return [] if is_fresh else view.find(fetch_summaries(place))

    if watch:
        if format_ != "table":
            raise UserError(f"--watch: needs --format table, not {format_}; leave one of them out")
        from rich.console import Group
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            while True:
                table = view.table(find())
                notes = map(text_cell, table.notes)
                live.update(Group(rich_table(fitted(table, console.width)), *notes), refresh=True)
                time.sleep(_WATCH_SECONDS)
    found = find()
    if format_ != "table":
        print(view.text(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    elif found:
        show(console, [view.table(found)])
    else:
        print_line(console, f"no runs in {place_text(place)}")


def stop(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A run's name, a study's, or the beginning of one.", autocompletion=complete_running
        ),
    ],
    place: StorageArgument = None,
    storage: StorageOption = None,
    wait_seconds: Annotated[
        float, typer.Option("--wait-seconds", min=0.0, max=86_400.0, help="How long to wait until it has stopped.")
    ] = 60.0,
) -> None:
    """Stop a run or a study on whatever machine it was started, as Ctrl-C does there; its command resumes it."""
    from minidisc_ray.driver.stopping import stop as stop_driver
    from minidisc_ray.run_files.fetching import fetch_summaries, open_storage
    from minidisc_ray.run_files.unfinished import resume_command

    root = storage_of(place, storage)
    fetch_summaries(root)
    with when_stopped("the request to stop stays, and the run stops as soon as its driver sees it"):
        stopped = stop_driver(open_storage(root), name, wait_seconds)
    who = f": {stopped.driver.title}" if stopped.driver is not None else ""
    command = resume_command(stopped.folder)
    how = "run its own command again to resume" if command is None else f"to resume it: {command}"
    message = {
        "stopped": f"stopped{who}; {how}",
        "finished": f"finished before it could be stopped{who}",
        "not running": "not running",
        "still running": f"still running after {wait_seconds:g} s{who}; it stops as soon as it sees the request",
    }[stopped.outcome]
    if not stopped.seemed_alive:
        message += ", but its driver has not responded, and may be gone"
    print_line(console, f"{stopped.folder.name}: {message}")
    if stopped.outcome == "still running":
        raise typer.Exit(_STILL_RUNNING)


def clean(
    place: StorageArgument = None,
    storage: StorageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    family: Annotated[bool, typer.Option("--family", help="Also delete nested families, which extract needs.")] = False,
) -> None:
    """Delete what no result needs: stages of finished runs, encodings, leftovers, artifacts that no run uses."""
    from minidisc_ray.run_files.clean import clean as clean_storage

    with when_stopped("the same command again deletes the rest" if not dry_run else "nothing was deleted"):
        freed = clean_storage(storage_of(place, storage), dry_run, family)
    for path in freed.paths:
        print_line(console, str(path))
    verb = "would free" if dry_run else "freed"
    console.print(f"{verb} {freed.bytes / 2**20:.1f} MiB in {len(freed.paths)} places")


def _finished_runs(folders: Sequence[Path]) -> list[Path]:
    """Replace each storage folder by its finished runs; of several runs, leave out those that are not finished."""
    found: list[Path] = []
    # STORAGE/* includes the folder of shared artifacts, which is not a run.
    named = [folder for folder in folders if folder.name != SHARED_FOLDER]
    for folder in named or folders:
        if (folder / "identity.json").is_file() and not (folder / "result.json").is_file() and len(named) > 1:
            print_error(UserError(f"{place_of(folder)} is not finished, left out"))
        elif (folder / "result.json").is_file():
            found.append(folder)
        else:
            inside = sorted(path.parent for path in folder.glob("*/result.json"))
            unfinished = sorted({path.parent for path in folder.glob("*/identity.json")} - set(inside))
            names = ", ".join(path.name for path in unfinished[:_MAX_NAMES])
            more = f" and {len(unfinished) - _MAX_NAMES} more" if len(unfinished) > _MAX_NAMES else ""
            if unfinished and not inside:
                raise UserError(f"{place_of(folder)}: none of its runs is finished ({names}{more})")
            if unfinished:
                print_error(UserError(f"not finished, left out: {names}{more}"))
            found += inside or [folder]
    return found
