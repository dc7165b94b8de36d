"""Makes the teacher: fine-tunes it unless it has a trained head, scores it, and refuses one that learned nothing."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.log import logger
from minidisc_ray.models.checkpoint import load_stored_model, note_inputs, save_model
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.stages._scores import (
    scoring_flops,
    selection_logits,
    selection_metrics,
    validation_logits,
    validation_metrics,
)
from minidisc_ray.pipeline.stages._shared_artifact import ensure_shared
from minidisc_ray.pipeline.stages._teacher_check import refusal_of, teacher_warning
from minidisc_ray.pipeline.structures import new_teacher
from minidisc_ray.preparation.tokenizer import unknown_token_warnings
from minidisc_ray.run_files.predictions import (
    SELECTION,
    VALIDATION,
    predictions_path,
    read_predictions,
    write_predictions,
)
from minidisc_ray.run_files.records import MODEL, StageRecord
from minidisc_ray.schedules.plan import MAIN_TRIAL
from minidisc_ray.training.finetune import fine_tuning_learner
from minidisc_ray.training.loop import train
from minidisc_ray.training.state import TrainingState


def ensure_teacher(context: Context) -> StageRecord:
    """The record of the fine-tuned and scored teacher, made now unless another run made the same one.

    Raises:
        UserError: if the teacher has learned nothing; the run then ends before any distillation.
    """
    prepared = context.prepared
    record = ensure_shared(context, "teacher", prepared.teacher_folder, MODEL, _make_teacher)
    kept = predictions_path(prepared.teacher_folder, MAIN_TRIAL, "teacher")
    answers = read_predictions(kept) if context.workers.is_first else None
    refusal = refusal_of(prepared, answers[f"{SELECTION}/{TEACHER_PERCENT}"]) if answers is not None else None
    # All workers must stop together: one that went on would wait for the others forever.
    (refusal,) = context.workers.agree_on_names((refusal or "",))
    if refusal:
        raise UserError(refusal)
    warnings = [*unknown_token_warnings(prepared), *([record.warning] if record.warning is not None else [])]
    for warning in warnings if context.workers.is_first else ():
        logger.warning("[%s] %s", context.trial, warning)
    return record


def _make_teacher(context: Context, work: Path, beat: Callable[[], None]) -> StageRecord:
    prepared, workers = context.prepared, context.workers
    config, task = prepared.config, prepared.task
    model = new_teacher(prepared)
    note_inputs(model.config, task, config.data.max_length)
    state: TrainingState | None = None
    if not prepared.teacher_is_fine_tuned:
        learner = fine_tuning_learner(
            model.to(workers.device),
            prepared.selection,
            task,
            config.finetune,
            config.precision,
            prepared.pad_token_id,
            workers,
        )
        with closing(StageObserver(context, "teacher", config.finetune.num_epochs, beat)) as observer:
            state = train(learner, prepared.train, config.finetune, config.seed, context.storage, work, observer)
    if workers.is_first:
        save_model(context.storage, model, prepared.tokenizer, work / "model")
    workers.wait()
    model = load_stored_model(context.storage, work / "model").to(workers.device)
    selection, validation = selection_logits(context, model), validation_logits(context, model)
    evaluation_flops: float = scoring_flops(model, [prepared.selection, *prepared.validation.values()])
    if workers.is_first:
        answers = {f"{VALIDATION}/{name}": logits for name, logits in validation.items()}
        answers = {f"{SELECTION}/{TEACHER_PERCENT}": selection, **answers}
        write_predictions(context.storage, predictions_path(work, MAIN_TRIAL, "teacher"), answers)
    return StageRecord(
        stage="teacher",
        trial=context.trial,
        scale_percent=TEACHER_PERCENT,
        num_epochs=state.epochs_done if state else 0,
        best_epoch=state.best_epoch if state else None,
        training_flops=state.training_flops if state else 0.0,
        evaluation_flops=evaluation_flops + (state.evaluation_flops if state else 0.0),
        history=state.history if state else (),
        warning=teacher_warning(prepared, selection),
        selection_metrics={TEACHER_PERCENT: selection_metrics(prepared, selection)},
        validation_metrics=validation_metrics(prepared, validation),
    )
