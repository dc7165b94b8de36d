"""Finds weights of a checkpoint that a model would silently leave out, and so compute something else."""

import re
from collections.abc import Collection, Iterable

from transformers import PreTrainedConfig

from minidisc_ray.models.families import family_of

# Buffers that older releases of transformers saved; models compute them now.
_BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids)$")
# Names of a norm's parameters in older checkpoints.
_OLD_NAMES = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)
_INSIDE = re.compile(r"(embeddings|embeddings_project|encoder|transformer)\.")
_STRIP = (
    "python -c \"from safetensors.torch import load_file, save_file; f = 'model.safetensors'; "
    "save_file({k.removeprefix('PREFIX'): v for k, v in load_file(f).items()}, f, metadata={'format': 'pt'})\" "
    "in its folder"
)
_ADAPTER = re.compile(r"lora_|adapter|base_layer|\bia3_|prefix_encoder", re.IGNORECASE)


def unused_flaw(
    config: PreTrainedConfig, known: Collection[str], names: Iterable[str], section: str, num_layers: int | None = None
) -> str | None:
    """Why a checkpoint with weights that the model does not use is refused, in words that follow its path, or None.

    Weights outside the encoder and the embeddings are no reason: they are heads of other tasks.

    Args:
        config: the model's.
        known: names of the model's parameters and buffers.
        names: names of the checkpoint's weights.
        section: of the recipe that names the checkpoint.
        num_layers: of the checkpoint's config, where the model was built with fewer.
    """
    stem = family_of(config.model_type).name
    layer = re.compile(rf"(^|\.){re.escape(family_of(config.model_type).layers)}\.(\d+)\.")
    count = int(config.num_hidden_layers) if num_layers is None else num_layers
    # Without the family's prefix, as in a checkpoint of the encoder alone, and with layer 0 for every layer.
    plain = {layer.sub(_first, name).removeprefix(f"{stem}.") for name in known}
    unused: list[str] = []
    adapters: list[str] = []
    prefixes: dict[str, list[str]] = {}
    names = sorted(names)
    given = {name.removeprefix(f"{stem}.") for name in names}
    for name in names:
        found = name
        for old, new in _OLD_NAMES:
            found = old.sub(new, found)
        place = layer.search(found)
        is_beyond = place is not None and int(place.group(2)) >= count
        found = layer.sub(_first, found)
        if _BUFFERS.search(found) or (not is_beyond and found.removeprefix(f"{stem}.") in plain):
            continue
        prefix = _prefix(found, plain, stem)
        if place is not None and _ADAPTER.search(name):
            adapters.append(name)
        elif prefix and not is_beyond:
            # With the plain names present too, these are a second copy or another tower, and nothing is left out.
            if name.removeprefix(prefix).removeprefix(f"{stem}.") not in given:
                prefixes.setdefault(prefix, []).append(name)
        elif _INSIDE.match(found.removeprefix(f"{stem}.")):
            unused.append(name)
    if adapters:
        return (
            f"has an adapter that was not merged into its weights ({_some(adapters)}); merge it (peft: "
            "merge_and_unload), save the model, and use that"
        )
    if prefixes:
        prefix, prefixed = max(prefixes.items(), key=lambda item: len(item[1]))
        return (
            f"has the prefix {prefix!r} before the names of its weights ({_some(prefixed)}), so that they would not be "
            f"loaded; strip it: {_STRIP.replace('PREFIX', prefix)}"
        )
    if beyond := [name for name in unused if (place := layer.search(name)) and int(place.group(2)) >= count]:
        return (
            f"has layers beyond the {count} that its config.json says ({_some(beyond)}); correct num_hidden_layers "
            f"there, and keep fewer by {section}.num_layers"
        )
    if unused:
        return (
            f"has weights inside the encoder or the embeddings that a {stem} of transformers does not use "
            f"({_some(unused)}), so that it would be another model; use a checkpoint of the plain architecture"
        )
    return None


def _first(place: re.Match[str]) -> str:
    return place.group(0).replace(f".{place.group(2)}.", ".0.")


def _prefix(name: str, plain: Collection[str], stem: str) -> str:
    """The prefix of a name that otherwise is one of the model's; empty if the name ends in none of these."""
    parts = name.split(".")
    for start in range(1, len(parts) - 1):
        rest = ".".join(parts[start:])
        if rest.removeprefix(f"{stem}.") in plain and _INSIDE.match(rest.removeprefix(f"{stem}.")):
            return ".".join(parts[:start]) + "."
    return ""


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} of them, {names[0]} for one"
