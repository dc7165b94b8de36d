"""Turn a recipe in any form that the API takes into a config."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe, resolve
from minidisc_ray.configs.paths import with_absolute_paths
from minidisc_ray.configs.run import RunConfig

Recipe = RunConfig | Mapping[str, Any] | str | Path


def config_of(recipe: Recipe, overrides: Sequence[str]) -> RunConfig:
    """Make a recipe's config, with overrides applied and absolute paths.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for the first mistake found.
    """
    return with_absolute_paths(_read(recipe, overrides))


def _read(recipe: Recipe, overrides: Sequence[str]) -> RunConfig:
    if isinstance(recipe, RunConfig):
        return resolve(recipe.model_dump(mode="json"), overrides) if overrides else recipe
    if isinstance(recipe, Mapping):
        return resolve(recipe, overrides)
    if not isinstance(recipe, str | Path):
        raise UserError(f"recipe: {type(recipe).__name__} is not a recipe; give a path, a mapping or a RunConfig")
    return load_recipe(recipe, overrides)
