"""Folders for other tools: written beside their place, and renamed to it once they are whole."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.files.places import is_uri
from minidisc_ray.files.writing import remove, replace_folder, temporary_beside
from minidisc_ray.models.families import family_of


def output_path(given: str | Path) -> Path:
    """A place to write to, its home directory and dots resolved; a URI stays as it is."""
    return Path(given) if is_uri(given) else Path(os.path.abspath(Path(given).expanduser()))  # noqa: PTH100 - no links


def check_output(output: Path, option: str = "--output") -> None:
    """Refuse a place that cannot be written to, before anything is computed for it.

    Args:
        output: the place.
        option: that names it, for messages.

    Raises:
        UserError: if something is there, or it is a URI.
    """
    if is_uri(output):
        raise UserError(f"{option}: {output} is a URI; give a folder on this machine, and copy it from there")
    try:
        is_there = output.is_symlink() or output.exists()
    except OSError as error:
        raise UserError(f"{option}: {output} is no place to write to ({error.strerror})") from error
    if is_there:
        raise UserError(f"{option}: {output} exists; choose another name")


def write_output(output: Path, fill: Callable[[Path], Any], option: str = "--output") -> Any:
    """Have a function fill a folder, and give it its name at the end; returns what the function returns.

    Raises:
        UserError: if the disk refuses; nothing is left of it.
    """
    temporary = temporary_beside(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        filled = fill(temporary)
        check_output(output, option)
        for path in temporary.rglob("*"):
            # safetensors makes its files readable by their owner alone; some mounts know no modes.
            with suppress(OSError):
                path.chmod(path.stat().st_mode | (temporary.stat().st_mode & 0o666))
        replace_folder(temporary, output)
        return filled
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{option}: {output} cannot be written ({reason})") from error
    finally:
        remove(temporary)


def dense_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """A model's config as that of its family, for tools that read labels and kind from it and weights from a graph."""
    family = family_of(config.model_type).name
    values = {key: value for key, value in config.to_dict().items() if key not in ("model_type", "auto_map")}
    values["architectures"] = [str(name).removeprefix("Pruned") for name in values.get("architectures") or ()]
    return AutoConfig.for_model(family, **values)
