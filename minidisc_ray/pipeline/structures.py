"""Loads the teacher, before training or as saved, and the nested structures given by its measured importance."""

from collections.abc import Sequence

from safetensors.torch import load_file
from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig, LayersStudentConfig
from minidisc_ray.core.structure import (
    Structure,
    UnitRanking,
    narrowed,
    rank_units,
    structure_at,
    structure_of_layers,
)
from minidisc_ray.data import builtin_vocabulary
from minidisc_ray.models.checkpoint import load_stored_model
from minidisc_ray.models.loading import build_teacher, load_teacher
from minidisc_ray.models.surgery import reorder_
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.fetching import fetch_records
from minidisc_ray.run_files.records import StageRecord, read_record
from minidisc_ray.schedules.plan import TEACHER, DistilStep, Trial

IMPORTANCE = "importance.safetensors"


def new_teacher(prepared: PreparedRun) -> PreTrainedModel:
    """The teacher before any training in this run: the built-in model, or its checkpoint."""
    teacher, task, seed = prepared.config.teacher, prepared.task, prepared.config.seed
    if isinstance(teacher, BuiltinTeacherConfig):
        return build_teacher(teacher, task, len(builtin_vocabulary()), seed)
    return load_teacher(teacher, task, seed)


def load_shared_teacher(prepared: PreparedRun) -> PreTrainedModel:
    """The teacher as saved by its stage, with heads and neurons in their original order."""
    return load_stored_model(prepared.storage, prepared.teacher_folder / "model")


def load_sorted_teacher(prepared: PreparedRun) -> PreTrainedModel:
    """The teacher with heads and neurons sorted by importance, most important first; smaller models are cut from it."""
    model = load_shared_teacher(prepared)
    reorder_(model, *load_rankings(prepared))
    return model


def load_rankings(prepared: PreparedRun) -> tuple[UnitRanking, UnitRanking]:
    """Rankings of heads and neurons from the measured importance.

    Raises:
        UserError: if the importance file is damaged.
    """
    folder = prepared.importance_folder
    fetch_records(prepared.storage, folder)
    if (folder / IMPORTANCE).exists() and read_record(prepared.storage, folder) is None:
        raise UserError(f"{folder}: the measured importance is damaged; run again, which measures it again")
    tensors = load_file(folder / IMPORTANCE)
    scope = prepared.config.pruning.ranking
    layers = range(prepared.shape.num_layers)
    heads = rank_units([tensors[f"heads.{layer:03d}"] for layer in layers], scope)
    neurons = rank_units([tensors[f"neurons.{layer:03d}"] for layer in layers], scope)
    return heads, neurons


def structures_of(prepared: PreparedRun, scales: tuple[int, ...]) -> dict[int, Structure]:
    """The nested structures at the given scales, by scale percent."""
    if not scales:
        return {}
    heads, neurons = load_rankings(prepared)
    multiple = prepared.config.pruning.neuron_multiple
    return {scale: structure_at(heads, neurons, scale, multiple) for scale in scales}


def student_structure(prepared: PreparedRun, source: Structure) -> Structure:
    """The student's structure when it is made from a model with the structure ``source``.

    Only a student made of some layers depends on the source: it keeps in each layer the smaller of its own width and
    the source's. A pruned student and one with its own checkpoint have the same structure for every source.

    Raises:
        UserError: if no head is left, since the source has none in the layers taken.
    """
    student, scale = prepared.config.student, prepared.plan.student_percent
    if prepared.checkpoint_student is not None:
        return prepared.checkpoint_student.structure
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


def final_structure(prepared: PreparedRun, trial: Trial, records: Sequence[StageRecord]) -> Structure:
    """The structure of a finished trial's student."""
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
