"""Merge changes into a recipe, or into a study, whose sections hold a recipe's keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import apply_override, deep_copy, keep_shared_keys
from minidisc_ray.configs.study.base import AXES, StudyConfig


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], path: Sequence[str] = ()) -> dict[str, Any]:
    """Apply changes to a copy of a recipe's section: mappings are merged, other values replaced.

    A new ``kind`` drops the keys that only other kinds have, as ``--set schedule.kind=`` does.

    Args:
        base: the section.
        changes: the changed keys.
        path: of the section in the recipe.
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


def apply_budget(raw: Mapping[str, Any], wanted: str | None) -> dict[str, Any]:
    """A copy of a raw study with a budget applied, by default the one that it names, and without its budgets.

    Raises:
        UserError: if there is no such budget, or it changes a key that no budget may.
    """
    study: dict[str, Any] = deep_copy({key: value for key, value in raw.items() if key != "budgets"})
    budgets = raw.get("budgets") or {}
    if not isinstance(budgets, Mapping):
        raise UserError("budgets: write a mapping from each budget's name to the study's keys that it changes")
    name = raw.get("budget") if wanted is None else wanted
    if name is None:
        if budgets:
            raise UserError(f"budget: missing; name the default one of {', '.join(map(str, budgets))}")
        return study
    if not isinstance(name, str | int | float):
        raise UserError(f"budget: {name!r} is not a name; write one of {', '.join(map(str, budgets)) or 'none'}")
    if name not in budgets:
        listed = f"use one of {', '.join(map(str, budgets))}" if budgets else "the study has none"
        raise UserError(f"budget: {name!r} is not a budget of this study; {listed}")
    changes = budgets[name] or {}
    if not isinstance(changes, Mapping):
        raise UserError(f"budgets.{name}: write a mapping of the study's keys that it changes")
    for key in changes:
        if key in ("name", "budget", "budgets", "paper") or key not in StudyConfig.model_fields:
            raise UserError(f"budgets.{name}.{key}: not a key that a budget changes; it may change recipe, "
                            "teachers, tasks, scales, seeds, methods, grid, title, conventional, baselines "
                            "and storage")  # fmt: skip
    return _with_budget(study, changes) | {"budget": str(name)}


def _with_budget(study: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a budget's changes to a copy of a raw study: recipe and entries of axes merge, lists are replaced."""
    result: dict[str, Any] = deep_copy(study)
    for key, value in changes.items():
        below = result.get(key)
        if key in AXES and isinstance(value, Mapping) and isinstance(below, Mapping):
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
    # Below recipe.KEY or AXIS.NAME.KEY.
    return parts[1 if parts and parts[0] == "recipe" else 2 :]


def _mappings(axis: str, entries: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    for name, entry in entries.items():
        if entry is not None and not isinstance(entry, Mapping):
            raise UserError(f"{axis}.{name}: {entry!r} is not a mapping; write the recipe's keys that it changes")
    return list(entries.items())
