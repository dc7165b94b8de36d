"""Fine-tunes a pretrained model into a teacher."""

from transformers import PreTrainedModel

from minidisc_ray.configs.training import Precision, TrainingConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.objectives import LabelObjective
from minidisc_ray.training.learner import Learner
from minidisc_ray.training.workers import Workers


def fine_tuning_learner(
    model: PreTrainedModel,
    selection: EncodedRows,
    task: Task,
    training: TrainingConfig,
    precision: Precision,
    pad_token_id: int,
    workers: Workers,
) -> Learner:
    """A learner that trains a model on labels, in place; the selection split picks the best epoch."""
    use_fast_dropout(model, training.dropout)
    return Learner(
        elastic=ElasticModel(model, {TEACHER_PERCENT: structure_of(model.config)}),
        objective=LabelObjective(task.output),
        teacher=None,
        scales_of_step=lambda step: (TEACHER_PERCENT,),  # noqa: ARG005
        selection_score=lambda scores: task.selection_score(scores[TEACHER_PERCENT]),
        task=task,
        selection=selection,
        pad_token_id=pad_token_id,
        workers=workers,
        precision=precision,
    )
