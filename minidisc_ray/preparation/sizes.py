"""Structures of the right size for counting, before importance decides what each layer loses."""

from collections.abc import Callable
from functools import lru_cache

import torch

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import LayersStudentConfig, PrunedStudentConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import LawConfig, MaxiDiscConfig, MiniDiscConfig
from minidisc_ray.core.depth import layers_taken
from minidisc_ray.core.flops import EncoderShape, encoder_parameters
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Scope, Structure, UnitRanking, rank_units, structure_at, structure_of_layers


def kept_layers(config: RunConfig, shape: EncoderShape) -> tuple[int, ...]:
    """The teacher's layers that the student is made of, bottom first, counted from 0."""
    student = config.student
    if isinstance(student, LayersStudentConfig):
        return layers_taken(shape.num_layers, student.num_layers, student.take)
    return tuple(range(shape.num_layers))


def planned_structure(config: RunConfig, shape: EncoderShape, scale_percent: int) -> Structure:
    """A pruned model's structure, as if all units were equally important.

    Raises:
        ValueError: if the scale leaves no head.
    """
    return _structure_at(config.pruning.ranking, shape, scale_percent, config.pruning.neuron_multiple)


def planned_student(config: RunConfig, shape: EncoderShape, source_percent: int) -> Structure:
    """The student's structure if cut from a model at ``source_percent``, as if all units were equally important.

    Raises:
        ValueError: if the student keeps no head.
    """
    student = config.student
    if not isinstance(student, LayersStudentConfig):
        return planned_structure(config, shape, config.student_percent)
    return structure_of_layers(
        *_equal_rankings(config.pruning.ranking, shape),
        kept_layers(config, shape),
        min(student.width_percent, source_percent),
        config.student_percent,
        config.pruning.neuron_multiple,
    )


def check_structures(config: RunConfig, shape: EncoderShape) -> None:
    """Refuse scales and widths that leave a model without heads.

    Raises:
        UserError: naming the key.
    """
    schedule, student = config.full_schedule, config.student
    section = "schedule" if schedule is config.schedule else "schedule.then"
    assistants = config.candidate_scales()
    key = {"assistant": "assistant_percent", "sparse_teacher": "teacher_percent"}.get(schedule.kind, "scales")
    needed: list[tuple[str, Callable[[RunConfig, EncoderShape, int], Structure], int]]
    needed = [(f"{section}.{key}", planned_structure, scale) for scale in assistants]
    if isinstance(student, LayersStudentConfig):
        needed.append(("student.width_percent", planned_student, TEACHER_PERCENT))
        needed += [(f"{section}.{key}", planned_student, scale) for scale in assistants]
    # The sandwich's smallest slice is pruned to the student's scale, whatever kind the student is.
    has_sandwich = isinstance(schedule, MiniDiscConfig) or (
        isinstance(schedule, MaxiDiscConfig) and schedule.assistants == "sandwich"
    )
    if has_sandwich or isinstance(student, PrunedStudentConfig):
        needed.append(("student.scale_percent", planned_structure, config.student_percent))
    for key, planned, percent in needed:
        try:
            planned(config, shape, percent)
        except ValueError as error:
            raise UserError(f"{key}: {error}") from error


def with_law_scale(config: RunConfig, shape: EncoderShape, own_parameters: int | None = None) -> RunConfig:
    """The recipe with its law's assistant filled in; unchanged for every other schedule.

    Args:
        config: the recipe.
        shape: the teacher's sizes.
        own_parameters: encoder parameters of a student with its own checkpoint; None for any other student.

    Raises:
        UserError: if a candidate leaves no head, or the recipe gives another scale.
    """
    schedule = config.full_schedule
    if not isinstance(schedule, LawConfig):
        return config
    section = "schedule" if schedule is config.schedule else "schedule.then"
    try:
        student = own_parameters or encoder_parameters(shape, planned_student(config, shape, TEACHER_PERCENT))
    except ValueError as error:
        raise UserError(f"student.scale_percent: {error}") from error
    try:
        wanted = schedule.times_student * student
        sizes = {
            scale: encoder_parameters(shape, planned_structure(config, shape, scale))
            for scale in schedule.scales.scales(config.student_percent)
        }
    except ValueError as error:
        raise UserError(f"{section}.scales: {error}") from error
    # Of two equally near scales the smaller one is taken: it costs less.
    percent = min(sizes, key=lambda scale: (abs(sizes[scale] - wanted), scale))
    if schedule.assistant_percent not in (None, percent):
        raise UserError(
            f"{section}.assistant_percent: {schedule.assistant_percent} is not the scale whose encoder is nearest "
            f"to {schedule.times_student:g} times the student's; leave it out, or write {percent}"
        )
    return config.with_assistant(percent)


# A plan asks for the same few sizes again and again, and a ranking sorts thousands of units.
@lru_cache(maxsize=4096)
def _structure_at(ranking: Scope, shape: EncoderShape, scale_percent: int, neuron_multiple: int) -> Structure:
    return structure_at(*_equal_rankings(ranking, shape), scale_percent, neuron_multiple)


@lru_cache(maxsize=16)
def _equal_rankings(ranking: Scope, shape: EncoderShape) -> tuple[UnitRanking, UnitRanking]:
    heads = rank_units([torch.ones(shape.num_heads)] * shape.num_layers, ranking)
    neurons = rank_units([torch.ones(shape.intermediate_size)] * shape.num_layers, ranking)
    return heads, neurons
