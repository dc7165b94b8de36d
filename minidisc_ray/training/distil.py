"""Distillation into one model, or into a sandwich of nested ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision, TrainingConfig
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.objectives import Objective
from minidisc_ray.training.learner import Learner, Scores
from minidisc_ray.training.race import Race
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers


@dataclass(frozen=True)
class StageInputs:
    """Inputs that every distillation of a run shares."""

    rows: EncodedRows
    selection: EncodedRows
    task: Task
    pad_token_id: int
    precision: Precision
    cache_bytes: int
    workers: Workers


@dataclass(frozen=True)
class NestedModels:
    """Models of several scales in one set of weights; a single one is plain distillation.

    Attributes:
        largest: has the weights.
        structures: of each model, by scale percent.
        scales_of_step: the scales that each step trains.
        selection_score: from every model's selection metrics to the number that picks the best epoch.
        race: chooses one of the models during training; None without a race.
        in_place: whether a step's largest model teaches the others, instead of the teacher.
    """

    largest: PreTrainedModel
    structures: Mapping[int, Structure]
    scales_of_step: Callable[[int], tuple[int, ...]]
    selection_score: Callable[[Scores], float]
    race: Race | None = None
    in_place: bool = False


def distillation_learner(
    models: NestedModels, teacher: PreTrainedModel, objective: Objective, training: TrainingConfig, inputs: StageInputs
) -> Learner:
    """A learner that trains nested models, in place, to match the teacher.

    Args:
        models: what is trained.
        teacher: what they are trained to match.
        objective: what is matched; its own parts are trained too, in place.
        training: the stage's config.
        inputs: rows and workers.
    """
    use_fast_dropout(models.largest, training.dropout)
    models.largest.to(inputs.workers.device).requires_grad_(True)
    wanted, outputs = objective.needs().teacher, None
    if wanted:
        outputs = TeacherOutputs(
            teacher, inputs.rows, wanted, inputs.pad_token_id, inputs.workers, inputs.precision, inputs.cache_bytes
        )
    return Learner(
        elastic=ElasticModel(models.largest, models.structures),
        objective=objective,
        teacher=outputs,
        scales_of_step=models.scales_of_step,
        selection_score=models.selection_score,
        task=inputs.task,
        selection=inputs.selection,
        pad_token_id=inputs.pad_token_id,
        workers=inputs.workers,
        precision=inputs.precision,
        race=models.race,
        in_place=models.in_place,
    )
