"""Commands over a storage root: what is there, where it stands, stopping it, and making room."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from minidisc_ray.cli_options import console, when_stopped
from minidisc_ray.configs.printable import printable

StorageFolder = Annotated[Path, typer.Option("--storage", metavar="DIR", help="Where runs are kept.")]
_DEFAULT_STORAGE = Path("minidisc-runs")
_STILL_RUNNING = 1


def status(
    storage: Annotated[Path, typer.Argument(metavar="STORAGE", help="A storage folder.")],
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every two seconds until Ctrl-C.")] = False,
) -> None:
    """Show runs and trials: stage, step, metric, device-hours, live."""
    from minidisc_ray.pipeline.mirrored import bring_to_show
    from minidisc_ray.reports import status as room

    if not watch:
        console.print(room.status_table(room.status(bring_to_show(storage))))
        return
    import time

    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(room.status_table(room.status(bring_to_show(storage))), refresh=True)
            time.sleep(2)


def ls(
    storage: StorageFolder = _DEFAULT_STORAGE,
    format_: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """List every run and study of a storage folder, the last changed first: state, score, cost, size, who drives it."""
    from minidisc_ray.reports.listing import listing
    from minidisc_ray.reports.listing_render import listing_table, listing_text

    found = listing(_folder(storage))
    if format_ == "table":
        console.print(listing_table(found) if found else printable(f"no runs in {storage}"), soft_wrap=not found)
    else:
        print(listing_text(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A run's name, or a study's.")],
    storage: StorageFolder = _DEFAULT_STORAGE,
    wait_seconds: Annotated[
        float, typer.Option("--wait-seconds", min=0.0, max=86_400.0, help="How long to wait for its end.")
    ] = 60.0,
) -> None:
    """Stop a run or a study, wherever it is driven from, as Ctrl-C there would; its own command goes on with it."""
    from minidisc_ray.pipeline.stopping import stop as stop_driver

    folder = _folder(storage)
    with when_stopped("the request stays, and the run ends as soon as its driver sees it"):
        stopped = stop_driver(folder, name, wait_seconds)
    who = f": {stopped.driver.title}" if stopped.driver is not None else ""
    told = {
        "stopped": f"stopped{who}; its own command again goes on where it stopped",
        "finished": f"finished before it could be stopped{who}",
        "not running": "not running",
        "still running": f"still running after {wait_seconds:g} s{who}; it stops as soon as it sees the request",
    }[stopped.outcome]
    if not stopped.was_heard_of:
        told += ", but it was not heard of meanwhile, and may be gone"
    console.print(printable(f"{stopped.folder.name}: {told}"), soft_wrap=True, highlight=False, markup=False)
    if stopped.outcome == "still running":
        raise typer.Exit(_STILL_RUNNING)


def clean(
    storage: Annotated[Path, typer.Argument(metavar="STORAGE", help="A storage folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Free what no result needs: finished runs' stages, encodings, leftovers, artifacts that no run uses."""
    from minidisc_ray.pipeline.run_directory import clean as clean_storage

    with when_stopped("the same command again frees what is left" if not dry_run else "nothing was freed"):
        freed = clean_storage(storage, dry_run)
    for path in freed.paths:
        console.print(printable(str(path)), soft_wrap=True, highlight=False, markup=False)
    verb = "would free" if dry_run else "freed"
    console.print(f"{verb} {freed.bytes / 2**20:.1f} MiB in {len(freed.paths)} places")


def _folder(storage: Path) -> Path:
    from minidisc_ray.pipeline.mirrored import bring_to_show

    return bring_to_show(storage)
