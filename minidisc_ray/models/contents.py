"""The files of a checkpoint's config and weights, in a folder or the hub's cache, and their digest."""

import hashlib
import json
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import cached_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import Checkpoint
from minidisc_ray.models.loading import load_config
from minidisc_ray.models.unused import unused_flaw
from minidisc_ray.models.weight_files import INDEX, WEIGHTS, check_weights_file, shards

_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def content_digest(checkpoint: Checkpoint) -> str:
    """A digest of a checkpoint's config and weights; its tokenizer has a digest of its own.

    Raises:
        UserError: if there are no weights in safetensors, or a file of them is missing or damaged.
    """
    files = {"config.json": _find(checkpoint, "config.json"), INDEX: _find(checkpoint, INDEX)}
    files |= weight_files(checkpoint)
    sums = {name: _sha256(path) for name, path in files.items() if path is not None}
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]


def weight_files(checkpoint: Checkpoint) -> dict[str, Path]:
    """The files of a checkpoint's weights by name.

    Raises:
        UserError: if there are none in safetensors, or one is missing or damaged.
    """
    if _find(checkpoint, "adapter_config.json") is not None:
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path} has an adapter beside its weights (adapter_config.json); "
            "merge it (peft: merge_and_unload), save the model, and use that"
        )
    found: dict[str, Path] = {}
    whole = _find(checkpoint, WEIGHTS)
    if whole is not None:
        check_weights_file(whole, checkpoint)
        found[WEIGHTS] = whole
    index_path = _find(checkpoint, INDEX)
    for name in shards(index_path, checkpoint) if index_path is not None else ():
        path = _find(checkpoint, name)
        if path is None:
            raise UserError(
                f"{checkpoint.section}.path: {name} is named by the index of {checkpoint.path}, but is not there"
            )
        found[name] = path
    if not found:
        is_pickled = any(_find(checkpoint, name) is not None for name in _PICKLED)
        convert = f" only; convert them: {_CONVERT}" if is_pickled else " only"
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path} has no model.safetensors; weights are read as safetensors"
            f"{convert}"
        )
    return found


def check_all_used(checkpoint: Checkpoint, model: PreTrainedModel) -> None:
    """Refuse a checkpoint with weights inside encoder or embeddings that its model would leave out.

    Args:
        checkpoint: the recipe's.
        model: built from its config, possibly without its upper layers; only names of its weights are used.

    Raises:
        UserError: naming one of them.
    """
    names: set[str] = set()
    for path in weight_files(checkpoint).values():
        with safe_open(path, framework="pt") as weights:
            names |= set(weights.keys())
    layers = int(load_config(checkpoint).num_hidden_layers)
    flaw = unused_flaw(model.config, set(model.state_dict()), names, checkpoint.section, layers)
    if flaw is not None:
        raise UserError(f"{checkpoint.section}.path: {checkpoint.path} {flaw}")


_CONVERT = (
    'python -c "import glob, torch; from safetensors.torch import save_file; w = {}; '
    "[w.update(torch.load(f, weights_only=True, map_location='cpu')) for f in glob.glob('pytorch_model*.bin')]; "
    "save_file({k: v.clone().contiguous() for k, v in w.items()}, 'model.safetensors', metadata={'format': 'pt'})\" "
    "in its folder"
)


def _find(checkpoint: Checkpoint, name: str) -> Path | None:
    found = cached_file(
        checkpoint.path,
        name,
        revision=checkpoint.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(found) if found else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
