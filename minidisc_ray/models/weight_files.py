"""Files of weights: safetensors beside a model's config, and nothing else."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.model import Checkpoint

ENDING = ".safetensors"


def check_weights_file(path: Path, checkpoint: Checkpoint) -> None:
    """Read the header alone: a cut file is noticed before anything starts.

    Raises:
        UserError: if it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as weights:
            weights.keys()
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{checkpoint.section}.path: {path.name} of {checkpoint.path} is damaged ({first_line(error)}); get "
            "it again"
        ) from error


def shards(index_path: Path, checkpoint: Checkpoint) -> list[str]:
    """Names of the files that an index of weights is about.

    Raises:
        UserError: if the index cannot be read, or names anything but safetensors files beside it.
    """
    try:
        names = sorted(set(json.loads(index_path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{checkpoint.section}.path: the weights' index of {checkpoint.path} cannot be read ({first_line(error)})"
        ) from error
    for name in names:
        if not isinstance(name, str) or not name.endswith(ENDING) or Path(name).name != name:
            raise UserError(
                f"{checkpoint.section}.path: the weights' index of {checkpoint.path} names {str(name)[:80]!r}; weights "
                "are read from safetensors files beside it only"
            )
    return names
