"""What the command line does, from Python."""

from minidisc_ray.api.models import evaluate, predict, profile
from minidisc_ray.api.recipes import Recipe
from minidisc_ray.api.runs import Watch, compare, estimate, plan, run, run_prepared

__all__ = [
    "Recipe",
    "Watch",
    "compare",
    "estimate",
    "evaluate",
    "plan",
    "predict",
    "profile",
    "run",
    "run_prepared",
]
