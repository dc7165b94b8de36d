"""What is matched between teacher and student, one objective a file."""

from minidisc_ray.configs.objective import ObjectiveConfig
from minidisc_ray.objectives._base import Needs, Objective
from minidisc_ray.objectives.labels import LabelObjective, label_loss_sum
from minidisc_ray.objectives.ltsd import LTSDObjective

__all__ = ["LTSDObjective", "LabelObjective", "Needs", "Objective", "build_objective", "label_loss_sum"]


def build_objective(config: ObjectiveConfig, is_regression: bool) -> Objective:
    """The objective that a recipe names."""
    return LTSDObjective(config, is_regression)
