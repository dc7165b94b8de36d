"""What is matched between teacher and student, one objective a file; importing the package registers them all."""

import importlib
import pkgutil

from minidisc_ray.objectives._base import Needs, Objective, build_objective, objective_of
from minidisc_ray.objectives.labels import LabelObjective, label_loss_sum

__all__ = ["LabelObjective", "Needs", "Objective", "build_objective", "label_loss_sum", "objective_of"]

for _module in pkgutil.iter_modules(__path__):
    try:
        importlib.import_module(f"{__name__}.{_module.name}")
    except Exception as error:
        raise ImportError(f"minidisc_ray/objectives/{_module.name}.py cannot be imported: {error}") from error
