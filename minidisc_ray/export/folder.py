"""Output folders: written under a temporary name beside their place, and renamed when they are whole."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.files.places import is_uri
from minidisc_ray.files.writing import remove, replace_folder, temporary_beside
from minidisc_ray.models.families import family_of

_Result = TypeVar("_Result")


def output_path(given: str | Path) -> Path:
    """The absolute path of an output, with ``~`` expanded; a URI stays as it is."""
    return Path(given) if is_uri(given) else Path(os.path.abspath(Path(given).expanduser()))  # noqa: PTH100 - no links


def check_output(output: Path, option: str = "--output") -> None:
    """Refuse an output that exists or cannot be written, before anything is computed for it.

    Args:
        output: the folder to write.
        option: the command line option that names it, for messages.

    Raises:
        UserError: if it exists, is a URI, or is no valid path.
    """
    if is_uri(output):
        raise UserError(f"{option}: {output} is a URI; give a folder on this machine, and copy it from there")
    try:
        exists = output.is_symlink() or output.exists()
    except OSError as error:
        raise UserError(f"{option}: {output} cannot be written ({error.strerror})") from error
    if exists:
        raise UserError(f"{option}: {output} exists; choose another name")


def write_output(output: Path, fill: Callable[[Path], _Result], option: str = "--output") -> _Result:
    """Call ``fill`` on a temporary folder and rename that to ``output``; returns what ``fill`` returns.

    Raises:
        UserError: if the folder cannot be written; nothing of it is left.
    """
    temporary = temporary_beside(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        filled = fill(temporary)
        check_output(output, option)
        for path in temporary.rglob("*"):
            # safetensors makes its files readable by their owner only; some file systems have no modes.
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
    """A pruned model's config as its family's, for tools that read labels and model type from it, not the structure."""
    family = family_of(config.model_type).name
    values = {key: value for key, value in config.to_dict().items() if key not in ("model_type", "auto_map")}
    values["architectures"] = [str(name).removeprefix("Pruned") for name in values.get("architectures") or ()]
    return AutoConfig.for_model(family, **values)
