"""Caches plans of recipes whose inputs are local files, so that planning a large task a second time is quick.

A cached plan is used if the recipe, this package, the libraries that read its inputs, and every input file (by size,
inode, mtime and ctime) are unchanged. Recipes with inputs on a hub are planned each time.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import minidisc_ray
from minidisc_ray.configs.data import FilesDataConfig, HubDataConfig
from minidisc_ray.configs.model import CheckpointStudentConfig, PretrainedTeacherConfig
from minidisc_ray.configs.redact import redacted
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.files.cache import cache_folder
from minidisc_ray.files.writing import read_json, remove, write_json

_LIBRARIES = ("datasets", "pyarrow", "tokenizers", "torch", "transformers")
_MAX_FILES, _MAX_PLANS = 1000, 100
# File times can be this coarse: a file changed so recently may change again with the same times.
_SECONDS_OF_RESOLUTION = 2.0


def plan_key(config: RunConfig) -> str | None:
    """A hash of all that a plan depends on; None if local files do not show that, or changed too recently."""
    try:
        stamps = [_stamp(path) for root in _inputs(config) for path in _files(root)]
    except (OSError, ValueError):
        return None
    youngest = max((max(stamp[3:]) for stamp in stamps), default=0)
    if len(stamps) > _MAX_FILES or time.time() - youngest / 1e9 < _SECONDS_OF_RESOLUTION:
        return None
    known = {
        "config": config.model_dump(mode="json"),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "package": [_stamp(path) for path in sorted(Path(minidisc_ray.__file__).parent.rglob("*.py"))],
        "inputs": stamps,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def read_plan(key: str) -> Any | None:
    """The plan cached under a key, as JSON; None if there is none."""
    return read_json(_path(key))


def write_plan(key: str, plan: dict[str, Any]) -> None:
    """Cache a plan under a key and remove the oldest ones; a plan that contains a secret is not cached."""
    if redacted(plan) != plan:
        return
    with suppress(OSError):
        write_json(_path(key), plan)
        kept = sorted(_path(key).parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_MAX_PLANS]:
            remove(path)


def _path(key: str) -> Path:
    return cache_folder() / "plans" / f"{key}.json"


def _inputs(config: RunConfig) -> Iterator[Path]:
    data = config.data
    if isinstance(data, HubDataConfig):
        raise ValueError("inputs on a hub have no local files")
    if isinstance(data, FilesDataConfig):
        yield from (Path(path) for path in (data.folder, data.train, data.validation, data.selection) if path)
    for model in (config.teacher, config.student):
        if isinstance(model, PretrainedTeacherConfig | CheckpointStudentConfig):
            if not Path(model.path).is_dir():
                raise ValueError("a model of a hub has no local folder")
            yield Path(model.path)


def _files(root: Path) -> Iterator[Path]:
    yield root
    if root.is_dir():
        yield from sorted(path for path in root.rglob("*") if path.is_file())


def _stamp(path: Path) -> tuple[str, int, int, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
