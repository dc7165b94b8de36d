"""Smaller models from larger ones: what a stage trains, before it is trained."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import LayersStudentConfig
from minidisc_ray.core.structure import Structure, narrowed, structure_of_layers
from minidisc_ray.files.sealing import DamageError, copy_folder
from minidisc_ray.files.writing import write_file
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, reorder_, take_layers
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.matching import PARTS
from minidisc_ray.pipeline.own_student import load_own_student
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.records import StageRecord
from minidisc_ray.pipeline.shared import load_rankings, load_shared_teacher, structures_of
from minidisc_ray.schedules.plan import TEACHER, DistilStep, Place, PruneStep, SandwichStep, Trial


def teacher_in_order(prepared: Prepared) -> PreTrainedModel:
    """The teacher, its heads and neurons from the most important down: smaller models are cut from this one."""
    model = load_shared_teacher(prepared)
    reorder_(model, *load_rankings(prepared))
    return model


def take_candidate(context: Context, sandwich: Path, scale: int, folder: Path) -> PreTrainedModel:
    """A candidate of a sandwich's kept state as a model of its own, saved where a later step finds it.

    Args:
        context: of the trial that takes it.
        sandwich: the folder of the stage that trained it.
        scale: of the candidate, in percent.
        folder: of the stage that takes it.
    """
    if context.workers.is_first:
        candidate = cut(load_model(sandwich / "model"), structures_of(context.prepared, (scale,))[scale])
        save_model(candidate, context.prepared.tokenizer, folder / "model")
        take_parts(sandwich, folder)
    context.workers.wait()
    return load_model(folder / "model")


def take_model(context: Context, stage: Path, folder: Path) -> PreTrainedModel:
    """Another stage's model, copied to where a later step finds it."""
    if context.workers.is_first:
        copy_model(stage / "model", folder / "model")
        take_parts(stage, folder)
    context.workers.wait()
    return load_model(folder / "model")


def copy_model(source: Path, folder: Path) -> None:
    """Copy a saved model, whole or not at all.

    Raises:
        UserError: if it is damaged.
    """
    try:
        copy_folder(source, folder)
    except DamageError as error:
        raise UserError(f"{source}: the model is damaged ({error}); remove {source.parent} and run again") from error


def take_parts(stage: Path, folder: Path) -> None:
    """The objective's own parts go where the model goes that they were trained with."""
    if (stage / PARTS).exists():
        write_file(folder / PARTS, lambda temporary: shutil.copyfile(stage / PARTS, temporary))


def scale_of(scale: int | Place, records: Sequence[StageRecord]) -> int:
    """A scale that is given, or that a choice of this trial fell on."""
    if isinstance(scale, int):
        return scale
    return next(record for record in records if record.stage == scale.choose).chosen_chain[scale.place]


def models_above(context: Context, step: SandwichStep | DistilStep) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The model that a step distils from, and the one that it cuts from: the same weights, but for the units' order."""
    if step.source == TEACHER:
        teacher = load_shared_teacher(context.prepared)
        is_own = isinstance(step, DistilStep) and step.makes_student and context.prepared.own_student is not None
        return teacher, teacher if is_own else teacher_in_order(context.prepared)
    source = load_model(context.folder / "stages" / step.source / "model")
    return source, source


def stage_above(context: Context, trial: Trial, step: SandwichStep | DistilStep) -> Path | None:
    """The folder of the stage that trained the model that a step distils from; None if none did."""
    if step.source == TEACHER or isinstance(trial.step(step.source), PruneStep):
        return None
    return context.folder / "stages" / step.source


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
    if step.continues is not None:
        first = trial.step(step.continues)
        assert isinstance(first, DistilStep)
        step = first
    if step.source == TEACHER:
        return student_structure(prepared, prepared.shape.full())
    scale = next(record for record in records if record.stage == step.source).scale_percent
    assert scale is not None
    return student_structure(prepared, structures_of(prepared, (scale,))[scale])


def make(
    context: Context, step: DistilStep, source: PreTrainedModel, records: Sequence[StageRecord]
) -> tuple[PreTrainedModel, Structure]:
    """The model that a step trains, and its structure: cut from one whose units are in order, begun or saved before."""
    prepared = context.prepared
    own = prepared.own_student
    if step.continues is not None:
        begun = load_model(context.folder / "stages" / step.continues / "model")
        return begun, structure_of(begun.config) if own is None else own.structure
    if not step.makes_student:
        scale = scale_of(step.scale, records)
        structure = structures_of(prepared, (scale,))[scale]
        return cut(source, structure), structure
    structure = student_structure(prepared, structure_of(source.config))
    if own is not None:
        return load_own_student(prepared), structure
    if isinstance(prepared.config.student, LayersStudentConfig):
        source = take_layers(source, prepared.kept_layers)
    return cut(source, structure), structure
