"""Distillation into one model, or into a sandwich of nested ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision, TrainingConfig
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.core.trace import Wanted
from minidisc_ray.data import EncodedRows
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.objectives import Objective
from minidisc_ray.training.learner import Learner, Scores
from minidisc_ray.training.loop import Observer, train
from minidisc_ray.training.state import TrainingState
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers


@dataclass(frozen=True)
class Surroundings:
    """What every distillation of a run shares."""

    rows: EncodedRows
    selection: EncodedRows
    task: Task
    pad_token_id: int
    precision: Precision
    seed: int
    cache_bytes: int
    workers: Workers


def distil(
    student: PreTrainedModel,
    structures: Mapping[int, Structure],
    teacher: PreTrainedModel,
    objective: Objective,
    scales_of_step: Callable[[int], tuple[int, ...]],
    selection_score: Callable[[Scores], float],
    training: TrainingConfig,
    surroundings: Surroundings,
    folder: Path,
    observer: Observer,
) -> TrainingState:
    """Train shared weights, in place, so that the candidates in them match the teacher.

    Args:
        student: the largest candidate.
        structures: the candidates by scale percent; a single one is plain distillation.
        teacher: the model above.
        objective: what is matched; its own parts are trained along, in place.
        scales_of_step: which candidates each step trains.
        selection_score: from every candidate's selection metrics to the number that picks the kept state.
        training: the stage's config.
        surroundings: rows and workers.
        folder: of the stage.
        observer: told of every step and epoch.
    """
    around = surroundings
    use_fast_dropout(student, training.dropout)
    student.to(around.workers.device).requires_grad_(True)
    wanted = objective.needs().teacher
    learner = Learner(
        elastic=ElasticModel(student, structures),
        objective=objective,
        teacher=_outputs(teacher, wanted, around) if wanted else None,
        scales_of_step=scales_of_step,
        selection_score=selection_score,
        task=around.task,
        selection=around.selection,
        pad_token_id=around.pad_token_id,
        workers=around.workers,
        precision=around.precision,
    )
    return train(learner, around.rows, training, around.seed, folder, observer)


def _outputs(teacher: PreTrainedModel, wanted: Wanted, around: Surroundings) -> TeacherOutputs:
    return TeacherOutputs(
        teacher, around.rows, wanted, around.pad_token_id, around.workers, around.precision, around.cache_bytes
    )
