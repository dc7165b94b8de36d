"""The command line; it only calls the API and prints."""

from minidisc_ray.cli.app import main

__all__ = ["main"]
