"""Files of weights: safetensors beside a model's config, and nothing else."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.model import Checkpoint

ENDING = ".safetensors"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def check_weights_file(path: Path, checkpoint: Checkpoint) -> None:
    """Check a file of weights by its header, so that a truncated file is noticed before anything starts.

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
    """Names of the files that an index of weights lists.

    Raises:
        UserError: if the index cannot be read, or names anything but safetensors files beside it.
    """
    if (flaw := index_flaw(index_path)) is not None:
        raise UserError(f"{checkpoint.section}.path: in {checkpoint.path}, {flaw}")
    return _names(index_path)


def index_flaw(index_path: Path) -> str | None:
    """What is wrong with an index of weights, in words; None if it names safetensors files beside it alone."""
    try:
        names = _names(index_path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"the weights' index cannot be read ({first_line(error)})"
    for name in names:
        if not isinstance(name, str) or not name.endswith(ENDING) or Path(name).name != name:
            return (
                f"the weights' index names {str(name)[:80]!r}; weights are read from safetensors files beside it only"
            )
    return None


def _names(index_path: Path) -> list[str]:
    return sorted(set(json.loads(index_path.read_text(encoding="utf-8"))["weight_map"].values()))
