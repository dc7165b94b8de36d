"""Changes laid over a recipe, and over a study whose keys hold recipes' keys further down."""

from collections.abc import Mapping, Sequence
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import apply_override, deep_copy, keep_shared_keys

_AXES = ("teachers", "tasks", "methods")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], path: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe's section with changes: mappings merge, everything else is replaced.

    Another ``kind`` takes the keys with it that only other kinds have, as ``--set schedule.kind=`` does.

    Args:
        base: the section as it is.
        changes: what it is to become, as far as it changes.
        path: of the section within a recipe.
    """
    result: dict[str, Any] = deep_copy(base)
    if "kind" in changes:
        keep_shared_keys(result, path, changes["kind"])
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value, (*path, key))
        else:
            result[key] = deep_copy(value)
    return result


def with_budget(study: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A raw study with a budget's changes: the recipe and the entries of each axis merge, lists are replaced."""
    result: dict[str, Any] = deep_copy(study)
    for key, value in changes.items():
        below = result.get(key)
        if key in _AXES and isinstance(value, Mapping) and isinstance(below, Mapping):
            known = dict(_mappings(key, {name: below.get(name) for name in value}))
            entries = {name: merged(known[name] or {}, entry or {}) for name, entry in _mappings(key, value)}
            result[key] = {**deep_copy(below), **entries}
        elif isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = deep_copy(value)
    return result


def override_study(study: dict[str, Any], override: str) -> None:
    """Set ``key.sub=value`` in a raw study, in place.

    Raises:
        UserError: if it is not ``key.sub=value``, the value is not YAML, or the key leads through a value.
    """
    key = override.partition("=")[0]
    if key == "budget" or key.split(".")[0] == "budgets":
        raise UserError(f"--set {key}: name the budget with --budget, and set the study's own keys")
    apply_override(study, override, _in_recipe)


def _in_recipe(parts: Sequence[str]) -> Sequence[str]:
    above = 1 if parts and parts[0] == "recipe" else 2
    return parts[above:]


def _mappings(axis: str, entries: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    for name, entry in entries.items():
        if entry is not None and not isinstance(entry, Mapping):
            raise UserError(f"{axis}.{name}: {entry!r} is not a mapping of changes to the recipe")
    return list(entries.items())
