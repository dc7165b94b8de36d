"""The command line; it only calls the API and prints."""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command in ``arguments``, by default the process's own, and exit."""
    try:
        # Takes half a second, in which Ctrl-C would end in a traceback.
        from minidisc_ray.cli.app import main as run_command
    except KeyboardInterrupt:
        sys.stderr.write("minidisc: stopped\n")
        sys.exit(130)  # options.STOPPED, which is not imported yet
    run_command(arguments)
