"""Shared by the commands: consoles, options that several of them take, and how they stop."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import redact
from minidisc_ray.log import logger
from minidisc_ray.reports.tables import PIPE_COLUMNS, text_cell

if TYPE_CHECKING:
    from minidisc_ray.configs.training import ComputeConfig

console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
messages = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file; `minidisc init` writes one.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, a.b=c; repeatable.")]
Storage = Annotated[str | None, typer.Option("--storage", metavar="DIR", help="Where runs are kept.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name; by default derived from the config.")]
QuotingOption = Annotated[
    Literal["csv", "none"] | None,
    typer.Option("--quoting", help="Quotation marks in CSV and TSV: csv, they enclose cells; none, they are text."),
]
_STORAGE = "--storage"
# Options that take a path, and what to give; "" would be the current folder.
PATH_OPTIONS = {
    _STORAGE: "a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
    "--to": "a folder, or what else the command's --help names",
    "--output": "a path",
    "--data": "a file or a folder",
    "--model": "a model's folder or a name on the hub",
    "--recipe": "a recipe file",
    "--from": "a table's folder",
    "--public": "a folder",
    "--vectors": "a file",
}
STOPPED = 130
# Less than the 30 s after which Slurm and Kubernetes kill.
MAX_SECONDS_TO_STOP = 20.0
RESUMES = "run the same command again to resume"


class Stopped(SystemExit):
    """Exit after Ctrl-C, a signal, or ``minidisc stop``.

    Attributes:
        hint: what is left, or how to go on, for the message.
        requested_by: who ran ``minidisc stop``; empty for Ctrl-C and signals.
    """

    def __init__(self, hint: str, requested_by: str = "") -> None:
        super().__init__(STOPPED)
        self.hint = hint
        self.requested_by = requested_by


# Hints of the open when_stopped contexts, for the thread that ends a command that hangs.
_hints: list[str] = []
# The command of this process, for the message after a stop.
_command: list[str] = []
_is_stopping = threading.Event()
_is_done = threading.Event()


@contextmanager
def when_stopped(hint: str) -> Iterator[None]:
    """Turn a Ctrl-C in the context into ``Stopped`` with this hint."""
    _hints.append(hint)
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(hint, str(stop)) from None
    finally:
        _hints.pop()


def print_stopped(hint: str = "", requested_by: str = "") -> None:
    """Print that the command was stopped, by whom if by ``minidisc stop``, and a hint; a resumable one in full."""
    who = f" by {requested_by}" if requested_by else ""
    after = f"; {hint}" if hint else ""
    if hint == RESUMES and _command:
        after += f": {redact(shlex.join(_command))}"
    print_line(messages, f"minidisc: stopped{who}{after}")


def stop_by_signal(number: int, frame: Any) -> None:  # noqa: ARG001
    """Interrupt the command as Ctrl-C does, and exit after some seconds if it hangs.

    ``timeout``, Slurm and systemd send SIGTERM to all processes of a job. A local Ray may then end before the driver
    has disconnected, and Ray's shutdown in the driver waits a minute for it.
    """
    if _is_stopping.is_set():
        # Terminals and timeout often send two signals: the second must not interrupt the shutdown.
        return
    _is_stopping.set()
    threading.Thread(target=_exit_if_hung, args=(_hints[-1] if _hints else "",), daemon=True).start()
    if not _is_done.is_set():
        raise KeyboardInterrupt


def work_is_done() -> None:
    """From now on signals do not stop the command: its result is printed, and only Ray still ends."""
    _is_done.set()


def stop_on_signals(arguments: Sequence[str]) -> None:
    """Interrupt this command at the first SIGINT or SIGTERM; background jobs of a shell still ignore SIGINT.

    Args:
        arguments: of the command, for the message after a stop.
    """
    _command[:] = ["minidisc", *arguments]
    _is_stopping.clear()
    _is_done.clear()
    # ray job stop and cluster schedulers send SIGTERM.
    signal.signal(signal.SIGTERM, stop_by_signal)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_by_signal)


def _exit_if_hung(hint: str) -> None:
    time.sleep(MAX_SECONDS_TO_STOP)
    if _is_done.is_set():
        os._exit(0)
    print_stopped(hint)
    os._exit(STOPPED)


def check_paths(arguments: Sequence[str]) -> None:
    """Check values whose mistake would not be noticed: of two storages the last would win, "" be the current folder.

    Raises:
        UserError: if ``--storage`` is given twice, or an argument or an option that takes a path is empty.
    """
    given = [value for option, value in pairwise(arguments) if option == _STORAGE]
    given += [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{_STORAGE}=")]
    if len(given) > 1:
        raise UserError(f"{_STORAGE}: given {len(given)} times; give one storage")
    for before, argument in pairwise(("", *arguments)):
        option, _, value = argument.partition("=")
        if option in PATH_OPTIONS and option != argument:
            _check_path(option, value)
        elif before in PATH_OPTIONS:
            _check_path(before, argument)
        elif not before.startswith("-") and not argument.strip():
            raise UserError("an argument is empty; give a path or a name, or leave it out")


def _check_path(option: str, value: str) -> None:
    if not value.strip():
        raise UserError(f"{option}: empty; give {PATH_OPTIONS[option]}")


def overrides_of(set_: list[str] | None, storage: str | None, name: str | None, address: str | None) -> list[str]:
    """All overrides of a command as ``--set`` takes them: those of ``--set``, then the other options'."""
    named = {"storage": storage, "name": name, "compute.address": address}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in named.items() if value is not None}
    return [*(set_ or []), *(f"{key}={value}" for key, value in quoted.items())]


def print_line(on: Console, line: str) -> None:
    """Print one line, with markup and control characters in it shown as text."""
    on.print(text_cell(line), soft_wrap=True)


def print_error(error: UserError) -> None:
    """Print an error, or a warning, to stderr."""
    print_line(messages, f"minidisc: {error}")


@contextmanager
def early_cluster(address: str | None) -> Iterator[None]:
    """Connect to Ray, or start it, before a command reads data and models: a wrong address is refused at once."""
    from minidisc_ray.ray_backend.cluster import cluster

    # What the command needs next is not imported by a thread meanwhile, which would save a second: two threads that
    # import packages with circular imports at once, such as scikit-learn, can deadlock, and one import then fails.
    with cluster(address):
        logger.info("reading data and models")
        yield


def fits_here(compute: "ComputeConfig") -> bool:
    """Whether a trial fits the local Ray that a run would start; True if it would start none."""
    from minidisc_ray.ray_backend.nodes import check_fit

    try:
        check_fit(compute)
    except UserError:
        return False
    return True
