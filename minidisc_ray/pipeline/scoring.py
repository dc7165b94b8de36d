"""What is written down of a model as it is: its metrics, and its answers row by row."""

from collections.abc import Mapping, Sequence

import numpy as np
from transformers import PreTrainedModel

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.pipeline.context import Context
from minidisc_ray.pipeline.predictions import SELECTION, VALIDATION, keep_predictions
from minidisc_ray.pipeline.records import StageRecord, read_record
from minidisc_ray.pipeline.shared import (
    scoring_flops,
    selection_logits,
    selection_metrics,
    teacher_folder,
    validation_logits,
    validation_metrics,
)


def record_of(context: Context, stage: str, scale: int, model: PreTrainedModel) -> StageRecord:
    """The record of a model as it is: scored on selection and validation rows, its answers kept."""
    selection = selection_logits(context, model)
    validation = validation_logits(context, model)
    keep_answers(
        context,
        stage,
        {f"{SELECTION}/{scale}": selection, **{f"{VALIDATION}/{name}": found for name, found in validation.items()}},
    )
    return StageRecord(
        stage=stage,
        trial=context.trial,
        scale_percent=scale,
        evaluation_flops=scoring_flops(model, [context.prepared.selection, *context.prepared.validation.values()]),
        selection_metrics={scale: selection_metrics(context.prepared, selection)},
        validation_metrics=validation_metrics(context.prepared, validation),
    )


def keep_answers(context: Context, stage: str, logits: Mapping[str, np.ndarray]) -> None:
    """Keep a stage's logits in the run directory, on the first worker."""
    if context.workers.is_first:
        keep_predictions(context.prepared.run_folder, context.trial, stage, logits)


def metric_above(context: Context, before: Sequence[StageRecord]) -> tuple[float, int]:
    """Selection score and scale of the model above a sandwich or a choice: the newest chosen, else the teacher."""
    score = context.prepared.task.selection_score
    chosen = [record for record in before if record.chosen_percent is not None]
    if chosen:
        scale = chosen[-1].chosen_percent
        assert scale is not None
        return score(chosen[-1].selection_metrics[scale]), scale
    record = read_record(teacher_folder(context.prepared), verify=False)
    assert record is not None
    return score(record.selection_metrics[TEACHER_PERCENT]), TEACHER_PERCENT
