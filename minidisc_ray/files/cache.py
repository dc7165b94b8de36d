"""The user's cache folder: ``${MINIDISC_CACHE}``, by default ``~/.cache/minidisc_ray``."""

import functools
import os
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder's path; the folder may not exist yet. What lies there can be made again."""
    return _resolved(os.environ.get("MINIDISC_CACHE") or "~/.cache/minidisc_ray")


@functools.lru_cache(maxsize=8)
def _resolved(path: str) -> Path:
    return Path(path).expanduser().resolve()
