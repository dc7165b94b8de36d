"""The command line: nothing but calls."""

from minidisc_ray.cli.main import entry, main

__all__ = ["entry", "main"]
