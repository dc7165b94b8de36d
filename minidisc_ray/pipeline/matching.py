"""The objective of one stage: between which two models, and what its own parts leave for the next stage."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.core.pair import Pair, Side
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.files.mirroring import refreshed
from minidisc_ray.files.writing import write_file
from minidisc_ray.objectives import Objective, build_objective

PARTS = "objective.safetensors"


def stage_objective(
    config: RunConfig,
    shape: EncoderShape,
    task: Task,
    above: Structure,
    below: Iterable[Structure],
    was_distilled: bool,
    below_shape: EncoderShape | None = None,
) -> Objective:
    """The recipe's objective between two models; its own parts start the same in every process.

    Args:
        config: the recipe.
        shape: the unpruned teacher's sizes.
        task: what both models predict.
        above: the structure of the model that teaches.
        below: those of the models that learn, several in a sandwich.
        was_distilled: whether the model that teaches was made by a stage with this objective.
        below_shape: the unpruned sizes of the models that learn; by default the teacher's.

    Raises:
        UserError: if these models or their task cannot give what the objective needs.
    """
    smallest = min(below, key=lambda structure: structure.scale_percent)
    pair = Pair(
        _side(_teacher_name(config, above), shape, above, was_distilled),
        _side(f"student at {smallest.scale_percent}%", below_shape or shape, smallest, was_distilled=False),
        task,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_objective(config.objective, pair)


def save_parts(objective: Objective, folder: Path) -> None:
    """Keep the objective's trained parts beside the stage's model, never in it."""
    parts = {name: part.detach().cpu() for name, part in objective.named_parameters() if part.requires_grad}
    if parts:
        write_file(folder / PARTS, lambda temporary: save_file(parts, temporary))


def hand_on(folder: Path, objective: Objective) -> None:
    """Give an objective the parts that were trained with the model that now teaches.

    Args:
        folder: of the finished stage that made that model.
        objective: of the next stage.

    Raises:
        UserError: if its file is damaged, or lacks what the objective needs.
    """
    path = folder / PARTS
    refreshed(path)
    try:
        objective.follow(load_file(path) if path.exists() else {})
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path}: the objective's parts that this stage left are missing or damaged ({reason}); remove {folder} "
            "and run again, which trains the stage anew"
        ) from error


def _side(name: str, shape: EncoderShape, structure: Structure, was_distilled: bool) -> Side:
    return Side(
        name=name,
        num_layers=len(structure.heads),
        hidden_size=shape.hidden_size,
        num_heads=shape.num_heads,
        head_size=shape.head_size,
        has_pruned_heads=min(structure.heads) < shape.num_heads,
        was_distilled=was_distilled,
    )


def _teacher_name(config: RunConfig, structure: Structure) -> str:
    teacher = config.teacher
    name = "the built-in model" if isinstance(teacher, BuiltinTeacherConfig) else teacher.path
    return name if structure.scale_percent == 100 else f"{name} at {structure.scale_percent}%"
