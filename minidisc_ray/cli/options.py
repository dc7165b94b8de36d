"""What the commands share: where they print, options that several of them take, and what is said after Ctrl-C."""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.printable import printable
from minidisc_ray.reports.tables import PIPE_COLUMNS

console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
messages = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file; `minidisc init` writes one.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, a.b=c; repeatable.")]
Storage = Annotated[str | None, typer.Option("--storage", metavar="DIR", help="Where runs are kept.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name; by default derived from the config.")]
STOPPED = 130
# Slurm and Kubernetes kill after 30 s.
SECONDS_TO_LEAVE = 20.0
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


# What the command that runs now leaves behind, for who has to say it in its place.
_left_behind: list[str] = []
_is_stopping = threading.Event()


@contextmanager
def when_stopped(leaves: str) -> Iterator[None]:
    """Have a Ctrl-C in the context say what it leaves behind: most commands keep nothing to go on from."""
    _left_behind.append(leaves)
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(leaves, str(stop)) from None
    finally:
        _left_behind.pop()


def print_stopped(leaves: str = "", asked_by: str = "") -> None:
    """Say that the command was stopped, by whom if it was from elsewhere, and what holds after it."""
    who = f" by {asked_by}" if asked_by else ""
    after = f"; {leaves}" if leaves else ""
    messages.print(printable(f"minidisc: stopped{who}{after}"), soft_wrap=True, markup=False, highlight=False)


def stop_by_signal(number: int, frame: Any) -> None:  # noqa: ARG001
    """End as by Ctrl-C, and if that hangs, without it.

    Who ends a job tends to send SIGTERM to all of its processes (``timeout``, Slurm, systemd). A local Ray is then gone
    before the driver can take its leave of it, and Ray waits a minute for itself.
    """
    if _is_stopping.is_set():
        # A terminal, or timeout, often signals twice: the second one must not interrupt what the first one began.
        return
    _is_stopping.set()
    threading.Thread(target=_leave_late, args=(_left_behind[-1] if _left_behind else "",), daemon=True).start()
    raise KeyboardInterrupt


def stop_on_signals() -> None:
    """End this command as by Ctrl-C at the first SIGINT or SIGTERM; a shell's background job ignores SIGINT still."""
    _is_stopping.clear()
    # A job's stop, and a scheduler's, is SIGTERM.
    signal.signal(signal.SIGTERM, stop_by_signal)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_by_signal)


def _leave_late(leaves: str) -> None:
    time.sleep(SECONDS_TO_LEAVE)
    print_stopped(leaves)
    os._exit(STOPPED)


def overrides_of(set_: list[str] | None, storage: str | None, name: str | None, address: str | None) -> list[str]:
    """What options of the command line override in a recipe, as after ``--set``."""
    named = {"storage": storage, "name": name, "compute.address": address}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in named.items() if value is not None}
    return [*(set_ or []), *(f"{key}={value}" for key, value in quoted.items())]


def print_error(error: UserError) -> None:
    """A user's mistake, or what was left out, on the error stream."""
    messages.print(f"minidisc: {error}", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def early_cluster(address: str | None) -> Iterator[None]:
    """A Ray for the length of a command: it starts while a thread imports what the command needs next."""
    from minidisc_ray.ray_backend.cluster import cluster

    threading.Thread(target=_import_in_advance, name="minidisc-import", daemon=True).start()
    with cluster(address):
        yield


def _import_in_advance() -> None:
    for name in ("minidisc_ray.api.runs", "minidisc_ray.ray_backend.run"):
        importlib.import_module(name)
