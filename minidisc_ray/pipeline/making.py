"""Smaller models from larger ones: what a stage trains, before it is trained."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import LayersStudentConfig
from minidisc_ray.core.structure import Structure, narrowed, structure_of_layers
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, reorder_, take_layers
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.own_student import load_own_student
from minidisc_ray.pipeline.prepare import Prepared
from minidisc_ray.pipeline.records import StageRecord
from minidisc_ray.pipeline.shared import load_rankings, load_shared_teacher, structures_of
from minidisc_ray.schedules.plan import CHOSEN, TEACHER, DistilStep, Trial


def teacher_in_order(prepared: Prepared) -> PreTrainedModel:
    """The teacher, its heads and neurons from the most important down: smaller models are cut from this one."""
    model = load_shared_teacher(prepared)
    reorder_(model, *load_rankings(prepared))
    return model


def assistant_at(context: Context, scale: int) -> PreTrainedModel:
    """The candidate at a scale, as a model of its own, from the sandwich's kept state."""
    shared = load_model(context.folder / "stages" / "sandwich" / "model")
    return cut(shared, structures_of(context.prepared, (scale,))[scale])


def chosen_percent(records: Sequence[StageRecord]) -> int:
    """The scale that a trial's choice fell on."""
    return next(record.chosen_percent for record in records if record.chosen_percent is not None)


def models_above(context: Context, step: DistilStep, before: Sequence[StageRecord]) -> tuple[PreTrainedModel, ...]:
    """The model that a step distils from, and the one that it cuts from: the same weights, but for the units' order."""
    if step.source == TEACHER:
        teacher = load_shared_teacher(context.prepared)
        is_own = step.makes_student and context.prepared.own_student is not None
        return teacher, teacher if is_own else teacher_in_order(context.prepared)
    if step.source == CHOSEN:
        source = assistant_at(context, chosen_percent(before))
    else:
        made = next(record for record in before if record.scale_percent == step.source)
        source = load_model(context.folder / "stages" / made.stage / "model")
    return source, source


def stage_above(context: Context, step: DistilStep, before: Sequence[StageRecord]) -> Path | None:
    """The folder of the stage that trained the model that a step distils from; None if none did."""
    if step.source == TEACHER:
        return None
    if step.source == CHOSEN:
        return context.folder / "stages" / "sandwich"
    made = next(record for record in before if record.scale_percent == step.source)
    return None if made.num_epochs is None else context.folder / "stages" / made.stage


def student_structure(prepared: Prepared, source: Structure) -> Structure:
    """The student's structure where it is made from a model of some structure.

    A pruned student's does not depend on it, nor does that of a student with its own checkpoint. A student of some
    layers keeps in each the smaller of its own width and what the source kept there.

    Raises:
        UserError: if no head is left, as may be where the source lost all of them in the layers taken.
    """
    student, scale = prepared.config.student, prepared.config.student_percent
    if prepared.own_student is not None:
        return prepared.own_student.structure
    if not isinstance(student, LayersStudentConfig):
        return structures_of(prepared, (scale,))[scale]
    heads, neurons = load_rankings(prepared)
    layers, multiple = prepared.kept_layers, prepared.config.pruning.neuron_multiple
    try:
        wide = structure_of_layers(heads, neurons, layers, student.width_percent, scale, multiple)
        return narrowed(wide, source, layers)
    except ValueError as error:
        raise UserError(
            f"student.take: {error}; take other layers, use a larger scale there, or pruning.ranking=local"
        ) from error


def structure_kept(prepared: Prepared, trial: Trial, records: Sequence[StageRecord]) -> Structure:
    """The structure of the student that a finished trial made."""
    step = trial.steps[-1]
    assert isinstance(step, DistilStep)
    if step.source == TEACHER:
        return student_structure(prepared, prepared.shape.full())
    scale = chosen_percent(records) if step.source == CHOSEN else step.source
    return student_structure(prepared, structures_of(prepared, (scale,))[scale])


def make(prepared: Prepared, step: DistilStep, source: PreTrainedModel) -> tuple[PreTrainedModel, Structure]:
    """The model that a step trains, and its structure: cut from another whose units are in order, or its own."""
    if not step.makes_student:
        structure = structures_of(prepared, (step.scale_percent,))[step.scale_percent]
        return cut(source, structure), structure
    structure = student_structure(prepared, structure_of(source.config))
    if prepared.own_student is not None:
        return load_own_student(prepared), structure
    if isinstance(prepared.config.student, LayersStudentConfig):
        source = take_layers(source, prepared.kept_layers)
    return cut(source, structure), structure
