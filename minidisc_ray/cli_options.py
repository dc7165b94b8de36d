"""What the commands share: where they print, options that several of them take, and what is said after Ctrl-C."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.render import WIDTH_OF_A_PIPE

console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)
messages = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file; `minidisc init` writes one.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, a.b=c; repeatable.")]
Storage = Annotated[str | None, typer.Option("--storage", metavar="DIR", help="Where runs are kept.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name; by default derived from the config.")]
Format = Literal["table", "md", "csv", "json"]
STOPPED = 130
GOES_ON = "the same command again goes on where this one stopped"


class Stopped(SystemExit):
    """Ctrl-C, or a job's stop.

    Attributes:
        leaves: what holds after it, in words.
        asked_by: who asked for it from elsewhere; empty for Ctrl-C.
    """

    def __init__(self, leaves: str, asked_by: str = "") -> None:
        super().__init__(STOPPED)
        self.leaves = leaves
        self.asked_by = asked_by


@contextmanager
def when_stopped(leaves: str) -> Iterator[None]:
    """Have a Ctrl-C in the context say what it leaves behind: most commands keep nothing to go on from."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(leaves, str(stop)) from None


def overrides_of(set_: list[str] | None, storage: str | None, name: str | None, address: str | None) -> list[str]:
    """What options of the command line override in a recipe, as after ``--set``."""
    named = {"storage": storage, "name": name, "compute.address": address}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in named.items() if value is not None}
    return [*(set_ or []), *(f"{key}={value}" for key, value in quoted.items())]


def say(error: UserError) -> None:
    """A user's mistake, or what was left out, on the error stream."""
    messages.print(f"minidisc: {error}", soft_wrap=True, markup=False, highlight=False)
