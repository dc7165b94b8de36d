"""Recipes as typed, closed, frozen configs."""

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe, resolve
from minidisc_ray.configs.run import RunConfig

__all__ = ["RunConfig", "UserError", "load_recipe", "resolve"]
