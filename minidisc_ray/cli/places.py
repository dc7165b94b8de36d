"""Where commands look for runs: a storage, given as an argument or by ``--storage``, and runs by name in it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.driver import DRIVER_FILE
from minidisc_ray.driver.names import folder_names, names_meant, no_such_run
from minidisc_ray.files.places import PlaceError, is_uri, local_path, place_text

DEFAULT_STORAGE = Path("minidisc-runs")
_STORAGE_HELP = f"Where runs are kept; by default {DEFAULT_STORAGE}."

StorageOption = Annotated[Path | None, typer.Option("--storage", metavar="DIR", help=_STORAGE_HELP)]
StorageArgument = Annotated[Path | None, typer.Argument(metavar="STORAGE", help="The same as --storage.")]


def storage_of(argument: Path | None, option: Path | None) -> Path:
    """The storage of a command that takes it as an argument and as an option.

    Raises:
        UserError: if both are given and differ.
    """
    if argument is not None and option is not None and argument != option:
        raise UserError(
            f"--storage: {place_text(option)} is not {place_text(argument)}, which the command has as its argument; "
            "give one"
        )
    return argument or option or DEFAULT_STORAGE


def run_place(text: Path, storage: Path | None) -> Path:
    """The folder or URI of a run: a path that exists as it is, else the run of that name in the storage.

    Raises:
        UserError: if several runs begin with the name, or none.
    """
    root, name = storage or DEFAULT_STORAGE, str(text)
    if is_uri(text) or os.path.exists(text):  # noqa: PTH110 - False for a name that is too long
        return text
    if text.name != name or name.startswith(("~", "..")):
        return text
    if is_uri(root):
        from minidisc_ray.run_files.fetching import fetch_summaries

        local = fetch_summaries(root)
    else:
        local = root.expanduser()
    if found := names_meant(local, name):
        return root / found[0]
    raise no_such_run(local, name)


def student_place(text: Path, storage: Path | None) -> Path:
    """As :func:`run_place`, but of a run that is given by its name the folder of its student."""
    place = run_place(text, storage)
    return text if place == text else place / "student"


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of runs and studies that begin so, for the shell."""
    return _completed(ctx, incomplete, ())


def complete_finished(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of finished runs that begin so, for the shell."""
    return _completed(ctx, incomplete, ("result.json",))


def complete_running(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of runs and studies that a process drives and that begin so, for the shell."""
    return _completed(ctx, incomplete, (DRIVER_FILE,))


def _completed(ctx: typer.Context, incomplete: str, holding: Sequence[str]) -> list[str]:
    given: Iterable[object] = (ctx.params.get("storage"), ctx.params.get("place"))
    place = next((str(one) for one in given if one is not None), str(DEFAULT_STORAGE))
    try:
        # Of a bucket the copy on this machine, as the last command left it: a key press fetches nothing.
        root = local_path(place)
    except PlaceError:
        return []
    found = [name for name in folder_names(root) if name.startswith(incomplete)]
    return [name for name in found if all((root / name / file).exists() for file in holding)]
