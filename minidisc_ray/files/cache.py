"""This user's cache of what can be made again: ``${MINIDISC_CACHE}``, by default ``~/.cache/minidisc_ray``."""

import functools
import os
from pathlib import Path


def cache_folder() -> Path:
    """Where the cache lies; it may not be there yet."""
    return _resolved(os.environ.get("MINIDISC_CACHE") or "~/.cache/minidisc_ray")


@functools.lru_cache(maxsize=8)
def _resolved(path: str) -> Path:
    return Path(path).expanduser().resolve()
