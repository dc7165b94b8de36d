"""What a user's own task is called in run names, tables and cards."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from minidisc_ray.configs.data import DataConfig, FilesDataConfig, HubDataConfig
from minidisc_ray.configs.redact import redact

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
# A file with one of these names says which rows it has; its folder says of what.
_SPLIT_NAMES = frozenset({"train", "training", "data", "dataset", "rows"})


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and redact(name) == name


def _check(name: str) -> str:
    if not _is_name(name):
        raise ValueError(f"{name[:60]!r} is not a task's name; use letters, digits, dashes and underscores, at most 60")
    return name


TaskName = Annotated[str, AfterValidator(_check)]


def name_from_data(data: DataConfig) -> str | None:
    """The name of the data's folder or file, or of the data set on the hub; None where none can be made of it."""
    match data:
        case FilesDataConfig(folder=folder) if folder is not None:
            return _plain(_resolved(folder).name)
        case FilesDataConfig(train=train) if train is not None:
            path = _resolved(train)
            stem = path.name.split(".")[0]
            return _plain(path.parent.name if stem.lower() in _SPLIT_NAMES else stem)
        case HubDataConfig(path=path, name=name):
            return _plain("-".join(part for part in (path.rstrip("/").split("/")[-1], name) if part))
    return None


def _resolved(text: str) -> Path:
    # As paths.with_absolute_paths resolves them, so that a run's own config.yaml gives the same name.
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(text)


def _plain(text: str) -> str | None:
    """The text with runs of other characters replaced by a dash; None if that leaves no name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:60]
    return name if _is_name(name) else None
