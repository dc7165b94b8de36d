"""Smaller models from larger ones: what a stage trains, before it is trained."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.model import CheckpointStudentConfig, LayersStudentConfig
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.checkpoint import load_stored_model, note_inputs, save_model
from minidisc_ray.models.loading import load_teacher
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, take_layers
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.stages._objective_parts import copy_objective_parts
from minidisc_ray.pipeline.structures import (
    load_shared_teacher,
    structures_of,
    student_structure,
    teacher_in_order,
)
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord, copy_model
from minidisc_ray.schedules.plan import TEACHER, DistilStep, Place, PruneStep, SandwichStep, Trial


def take_candidate(context: Context, sandwich: Path, scale: int, folder: Path) -> PreTrainedModel:
    """A candidate of a sandwich's kept state as a model of its own, saved where a later step finds it.

    Args:
        context: of the trial that takes it.
        sandwich: the folder of the stage that trained it.
        scale: of the candidate, in percent.
        folder: of the stage that takes it.
    """
    if context.workers.is_first:
        candidate = cut(
            load_stored_model(context.storage, sandwich / "model"), structures_of(context.prepared, (scale,))[scale]
        )
        save_model(context.storage, candidate, context.prepared.tokenizer, folder / "model")
        copy_objective_parts(context.storage, sandwich, folder)
    context.workers.wait()
    return load_stored_model(context.storage, folder / "model")


def take_teacher(context: Context, sandwich: Path, folder: Path) -> PreTrainedModel:
    """The teacher as its own assistant, saved where a later step finds it, its units in order.

    Args:
        context: of the trial that takes it.
        sandwich: the folder of the stage whose objective's own parts go along.
        folder: of the stage that takes it.
    """
    if context.workers.is_first:
        save_model(context.storage, teacher_in_order(context.prepared), context.prepared.tokenizer, folder / "model")
        copy_objective_parts(context.storage, sandwich, folder)
    context.workers.wait()
    return load_stored_model(context.storage, folder / "model")


def take_model(context: Context, stage: Path, folder: Path) -> PreTrainedModel:
    """Another stage's model, copied to where a later step finds it."""
    if context.workers.is_first:
        copy_model(context.storage, stage / "model", folder / "model")
        copy_objective_parts(context.storage, stage, folder)
    context.workers.wait()
    return load_stored_model(context.storage, folder / "model")


def scale_of(scale: int | Place, records: Sequence[StageRecord]) -> int:
    """A scale that is given, or that a choice of this trial fell on."""
    if isinstance(scale, int):
        return scale
    return next(record for record in records if record.stage == scale.choose).chosen_chain[scale.place]


def teacher_and_source(context: Context, step: SandwichStep | DistilStep) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The model that a step distils from, and the one that it cuts from: the same weights, but for the units' order."""
    if step.source == TEACHER:
        teacher = load_shared_teacher(context.prepared)
        is_own = isinstance(step, DistilStep) and step.makes_student and context.prepared.checkpoint_student is not None
        return teacher, teacher if is_own else teacher_in_order(context.prepared)
    source = load_stored_model(context.storage, context.folder / "stages" / step.source / "model")
    return source, source


def teacher_stage_folder(context: Context, trial: Trial, step: SandwichStep | DistilStep) -> Path | None:
    """The folder of the stage that trained the model that a step distils from; None if none did."""
    if step.source == TEACHER or isinstance(trial.step(step.source), PruneStep):
        return None
    return context.folder / "stages" / step.source


def build_student(
    context: Context, step: DistilStep, source: PreTrainedModel, records: Sequence[StageRecord]
) -> tuple[PreTrainedModel, Structure]:
    """The model that a step trains, and its structure: cut from one whose units are in order, begun or saved before."""
    prepared = context.prepared
    own = prepared.checkpoint_student
    if step.continues is not None:
        begun = load_stored_model(context.storage, context.folder / "stages" / step.continues / "model")
        return begun, structure_of(begun.config) if own is None else own.structure
    if not step.makes_student:
        scale = scale_of(step.scale, records)
        structure = structures_of(prepared, (scale,))[scale]
        return cut(source, structure), structure
    structure = student_structure(prepared, structure_of(source.config))
    if own is not None:
        return load_checkpoint_student(prepared), structure
    if step.slice_of is not None:
        return cut(
            load_stored_model(context.storage, context.folder / "stages" / step.slice_of / "model"), structure
        ), structure
    if isinstance(prepared.config.student, LayersStudentConfig):
        source = take_layers(source, prepared.kept_layers)
    return cut(source, structure), structure


def load_checkpoint_student(prepared: PreparedRun) -> PreTrainedModel:
    """The checkpoint in float32, before any training here, with what a student inherits elsewhere from its teacher.

    Raises:
        UserError: if its weights cannot be loaded, or do not fit its config.
    """
    config, own = prepared.config, prepared.checkpoint_student
    assert own is not None
    assert isinstance(config.student, CheckpointStudentConfig)
    model = load_teacher(config.student, prepared.task, config.seed)
    note_inputs(model.config, prepared.task.text_columns, config.data.max_length)
    model.config.minidisc_scale_percent = own.structure.scale_percent
    return model
