"""Scores a stage's model, and keeps its metrics and its logits row by row."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from transformers import PreTrainedModel

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.data import EncodedRows
from minidisc_ray.evaluation import merge_scores, score
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.context import Context
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.predictions import SELECTION, VALIDATION, predictions_path, write_predictions
from minidisc_ray.run_files.records import StageRecord, read_record
from minidisc_ray.training.score import pass_flops, score_model


def score_and_record(context: Context, stage: str, scale: int, model: PreTrainedModel) -> StageRecord:
    """Score a model on selection and validation rows, keep its logits, and return its record."""
    selection = selection_logits(context, model)
    validation = validation_logits(context, model)
    by_validation = {f"{VALIDATION}/{name}": logits for name, logits in validation.items()}
    write_logits(context, stage, {f"{SELECTION}/{scale}": selection, **by_validation})
    return StageRecord(
        stage=stage,
        trial=context.trial,
        scale_percent=scale,
        evaluation_flops=scoring_flops(model, [context.prepared.selection, *context.prepared.validation.values()]),
        selection_metrics={scale: selection_metrics(context.prepared, selection)},
        validation_metrics=validation_metrics(context.prepared, validation),
    )


def write_logits(context: Context, stage: str, logits: Mapping[str, np.ndarray]) -> None:
    """Keep a stage's logits in the run directory, on the first worker."""
    if context.workers.is_first:
        write_predictions(context.storage, predictions_path(context.prepared.run_folder, context.trial, stage), logits)


def metric_above(context: Context, before: Sequence[StageRecord]) -> tuple[float, int]:
    """Score and scale of the model above a sandwich or a choice: the last chosen assistant, or the teacher."""
    score = context.prepared.task.selection_score
    chosen = [record for record in before if record.chosen_percent is not None]
    if chosen:
        scale = chosen[-1].chosen_percent
        assert scale is not None
        return score(chosen[-1].selection_metrics[scale]), scale
    record = read_record(context.storage, context.prepared.teacher_folder, verify=False)
    assert record is not None
    return score(record.selection_metrics[TEACHER_PERCENT]), TEACHER_PERCENT


def selection_logits(context: Context, model: PreTrainedModel) -> np.ndarray:
    """A model's logits on the selection split, (N, C)."""
    return _logits(context, model, context.prepared.selection)


def validation_logits(context: Context, model: PreTrainedModel) -> dict[str, np.ndarray]:
    """A model's logits on every validation set, (N, C) each."""
    return {name: _logits(context, model, rows) for name, rows in context.prepared.validation.items()}


def selection_metrics(prepared: PreparedRun, logits: np.ndarray) -> dict[str, float]:
    """Metrics of logits, (N, C), on the selection split."""
    return score(prepared.task, logits, prepared.selection.labels.numpy())


def validation_metrics(prepared: PreparedRun, logits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics of logits, (N, C) for each validation set, merged over all sets."""
    by_split = {
        name: score(prepared.task, found, prepared.validation[name].labels.numpy()) for name, found in logits.items()
    }
    return merge_scores(prepared.task, by_split)


def scoring_flops(model: PreTrainedModel, splits: Iterable[EncodedRows]) -> int:
    """FLOPs of one forward pass of a model over some splits."""
    shape, structure = shape_of(model), structure_of(model.config)
    return sum(pass_flops(shape, structure, rows) for rows in splits)


def _logits(context: Context, model: PreTrainedModel, rows: EncodedRows) -> np.ndarray:
    prepared = context.prepared
    return score_model(model, rows, prepared.pad_token_id, context.workers, prepared.config.precision)
