"""The Python API: everything that the command line does."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidisc_ray.api.distillations import Importance, TaskImportance, importance
    from minidisc_ray.api.exports import export, extract, open_family, push
    from minidisc_ray.api.models import evaluate, predict, profile
    from minidisc_ray.api.observations import dataset_features, observe, observe_public, read_observations
    from minidisc_ray.api.plans import describe_plan
    from minidisc_ray.api.recipes import Recipe
    from minidisc_ray.api.recommendations import Recommendation, Recommended, recommend
    from minidisc_ray.api.runs import compare, estimate, plan, run, run_prepared, run_together
    from minidisc_ray.run_files.progress import Watch

__all__ = [
    "Importance",
    "Recipe",
    "Recommendation",
    "Recommended",
    "TaskImportance",
    "Watch",
    "compare",
    "dataset_features",
    "describe_plan",
    "estimate",
    "evaluate",
    "export",
    "extract",
    "importance",
    "observe",
    "observe_public",
    "open_family",
    "plan",
    "predict",
    "profile",
    "push",
    "read_observations",
    "recommend",
    "run",
    "run_prepared",
    "run_together",
]

# The module of each name; the others are in ``runs``.
_MODULES = {
    "Importance": "distillations",
    "Recommendation": "recommendations",
    "Recommended": "recommendations",
    "TaskImportance": "distillations",
    "dataset_features": "observations",
    "describe_plan": "plans",
    "evaluate": "models",
    "export": "exports",
    "extract": "exports",
    "importance": "distillations",
    "observe": "observations",
    "observe_public": "observations",
    "open_family": "exports",
    "predict": "models",
    "profile": "models",
    "push": "exports",
    "read_observations": "observations",
    "recommend": "recommendations",
    "Recipe": "recipes",
}


def __getattr__(name: str) -> Any:
    """Import a name's module when the name is first used: many calls need neither torch nor Ray."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'runs')}"), name)
