"""Builds the models that stages train or choose, out of larger ones."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.model import CheckpointStudentConfig, LayersStudentConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.checkpoint import load_stored_model, note_inputs, save_model
from minidisc_ray.models.loading import load_teacher
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut, take_layers
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.stages._objective_parts import copy_objective_parts
from minidisc_ray.pipeline.structures import (
    load_shared_teacher,
    load_sorted_teacher,
    structures_of,
    student_structure,
)
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.records import StageRecord, copy_model
from minidisc_ray.schedules.plan import TEACHER, ChosenScale, DistilStep, PruneStep, SandwichStep, Trial


def extract_candidate(context: Context, sandwich: Path, scale: int, folder: Path) -> PreTrainedModel:
    """Cut a candidate out of a sandwich's kept state, save it as a stage's model and return it; at 100% the teacher.

    Args:
        context: the trial's.
        sandwich: the folder of the stage that trained the candidate, and the objective parts to copy along.
        scale: the candidate's, in percent.
        folder: the folder of the stage that saves it.
    """
    if context.workers.is_first:
        if scale == TEACHER_PERCENT:
            candidate = load_sorted_teacher(context.prepared)
        else:
            structure = structures_of(context.prepared, (scale,))[scale]
            candidate = cut(load_stored_model(context.storage, sandwich / "model"), structure)
        save_model(context.storage, candidate, context.prepared.tokenizer, folder / "model")
        copy_objective_parts(context.storage, sandwich, folder)
    context.workers.wait()
    return load_stored_model(context.storage, folder / "model")


def copy_stage_model(context: Context, stage: Path, folder: Path) -> PreTrainedModel:
    """Copy another stage's model and objective parts into a stage's folder, and return the model."""
    if context.workers.is_first:
        copy_model(context.storage, stage / "model", folder / "model")
        copy_objective_parts(context.storage, stage, folder)
    context.workers.wait()
    return load_stored_model(context.storage, folder / "model")


def resolve_scale(scale: int | ChosenScale, records: Sequence[StageRecord]) -> int:
    """A step's scale in percent: a fixed one, or the one that an earlier step of the trial chose."""
    if isinstance(scale, int):
        return scale
    return next(record for record in records if record.stage == scale.choice).chosen_chain[scale.index]


def teacher_and_source(context: Context, step: SandwichStep | DistilStep) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The model that a step distils from, and the one that it cuts from: the same model, with its units sorted."""
    if step.source == TEACHER:
        teacher = load_shared_teacher(context.prepared)
        # A student with its own checkpoint is cut from no model.
        has_checkpoint = context.prepared.checkpoint_student is not None
        is_uncut = has_checkpoint and isinstance(step, DistilStep) and step.makes_student
        return teacher, teacher if is_uncut else load_sorted_teacher(context.prepared)
    source = load_stored_model(context.storage, context.folder / "stages" / step.source / "model")
    return source, source


def teacher_stage_folder(context: Context, trial: Trial, step: SandwichStep | DistilStep) -> Path | None:
    """The folder of the stage whose model a step distils from; None for the teacher and a sparse teacher."""
    if step.source == TEACHER or isinstance(trial.step(step.source), PruneStep):
        return None
    return context.folder / "stages" / step.source


def build_student(
    context: Context, step: DistilStep, source: PreTrainedModel, records: Sequence[StageRecord]
) -> tuple[PreTrainedModel, Structure]:
    """The model that a step trains, and its structure: cut from ``source``, or loaded from a stage or a checkpoint."""
    prepared = context.prepared
    checkpoint_student = prepared.checkpoint_student
    if step.continues is not None:
        begun = load_stored_model(context.storage, context.folder / "stages" / step.continues / "model")
        return begun, structure_of(begun.config) if checkpoint_student is None else checkpoint_student.structure
    if not step.makes_student:
        scale = resolve_scale(step.scale, records)
        structure = structures_of(prepared, (scale,))[scale]
        return cut(source, structure), structure
    structure = student_structure(prepared, structure_of(source.config))
    if checkpoint_student is not None:
        return load_checkpoint_student(prepared), structure
    if step.slice_of is not None:
        source = load_stored_model(context.storage, context.folder / "stages" / step.slice_of / "model")
    elif isinstance(prepared.config.student, LayersStudentConfig):
        source = take_layers(source, prepared.kept_layers)
    return cut(source, structure), structure


def load_checkpoint_student(prepared: PreparedRun) -> PreTrainedModel:
    """The checkpoint in float32, before training, with the config entries that a cut student gets from its teacher.

    Raises:
        UserError: if the checkpoint's weights cannot be loaded, or do not fit its config.
    """
    config, checkpoint_student = prepared.config, prepared.checkpoint_student
    assert checkpoint_student is not None
    assert isinstance(config.student, CheckpointStudentConfig)
    model = load_teacher(config.student, prepared.task, config.seed)
    note_inputs(model.config, prepared.task, config.data.max_length)
    model.config.minidisc_scale_percent = checkpoint_student.structure.scale_percent
    return model
