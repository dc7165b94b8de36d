"""The command line: nothing but calls."""

from minidisc_ray.cli.app import main

__all__ = ["main"]
