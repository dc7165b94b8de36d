"""Make a recipe's paths absolute, since workers run in other folders."""

from pathlib import Path
from typing import Any

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.configs.data import FilesDataConfig
from minidisc_ray.configs.run import RunConfig


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The recipe with every path to a local file or folder made absolute.

    Raises:
        UserError: if a value is not a path.
    """
    changed: dict[str, Any] = {}
    if "://" not in config.storage:
        changed["storage"] = _absolute(config.storage, "storage")
    data = config.data
    if isinstance(data, FilesDataConfig):
        places = ("folder", "train", "validation", "selection")
        paths = {
            place: _absolute(value, f"data.{place}") for place in places if (value := getattr(data, place)) is not None
        }
        changed["data"] = data.model_copy(update=paths)
    for section in ("data", "teacher", "student"):
        part: Config = getattr(config, section)
        path = getattr(part, "path", None)
        if path and _is_folder(path):
            changed[section] = part.model_copy(update={"path": _absolute(path, f"{section}.path")})
    return config.model_copy(update=changed)


def _absolute(path: str, key: str) -> str:
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}: {path[:80]!r} is not a path ({error})") from error


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False
