"""Sets up a stage that trains one or several nested models against a teacher, and saves the kept state after it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from transformers import PreTrainedModel

from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.log import logger
from minidisc_ray.models.checkpoint import save_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.stages._build import teacher_stage_folder
from minidisc_ray.pipeline.stages._objective_parts import load_objective_parts, save_objective_parts
from minidisc_ray.preparation.objective import stage_objective, untrained_head_note
from minidisc_ray.schedules.plan import STUDENT, DistilStep, SandwichStep
from minidisc_ray.schedules.training import last_epoch
from minidisc_ray.training.distil import NestedModels, StageInputs, distillation_learner
from minidisc_ray.training.learner import Learner
from minidisc_ray.training.teacher_outputs import cache_limit_bytes


@contextmanager
def training_stage(
    context: Context,
    step: SandwichStep | DistilStep,
    attempt: StageAttempt,
    training: TrainingConfig,
    models: NestedModels,
    teacher: PreTrainedModel,
) -> Iterator[tuple[Learner, StageObserver]]:
    """Yield a learner of the recipe's objective and an observer for the loop; on leaving, save the model and its parts.

    Args:
        context: the trial's.
        step: the step of the trial's plan.
        attempt: the attempt, whose folder the model is saved in.
        training: the stage's training config.
        models: the models to train.
        teacher: the model that they learn from.
    """
    prepared = context.prepared
    teacher_stage = teacher_stage_folder(context, attempt.trial, step)
    objective = stage_objective(
        prepared.config,
        prepared.shape,
        prepared.task,
        structure_of(teacher.config),
        models.structures.values(),
        teacher_stage is not None,
        prepared.expected_shape(step.name),
    )
    if teacher_stage is not None:
        load_objective_parts(context.storage, teacher_stage, objective)
    if context.workers.is_first and step.name == STUDENT and (note := untrained_head_note(prepared)) is not None:
        logger.warning("[%s] %s", context.trial, note)
    num_epochs = last_epoch(prepared.config, step) if isinstance(step, DistilStep) else training.num_epochs
    with closing(StageObserver(context, step.name, num_epochs, attempt.beat)) as observer:
        yield distillation_learner(models, teacher, objective, training, _stage_inputs(context)), observer
    if context.workers.is_first:
        save_model(context.storage, models.largest.to("cpu"), prepared.tokenizer, attempt.folder / "model")
        save_objective_parts(context.storage, objective, attempt.folder)
    context.workers.wait()


def _stage_inputs(context: Context) -> StageInputs:
    prepared, workers = context.prepared, context.workers
    config = prepared.config
    return StageInputs(
        rows=prepared.train,
        selection=prepared.selection,
        task=prepared.task,
        pad_token_id=prepared.pad_token_id,
        precision=config.precision,
        cache_bytes=int(workers.agree(cache_limit_bytes(config.compute, workers.size))),
        workers=workers,
    )
