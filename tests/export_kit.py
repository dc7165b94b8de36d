"""A tiny model with rows, as an export takes it, without a run."""

from pathlib import Path

from storage_kit import LOCAL
from tiny_models import TASK, random_rows
from transformers import PreTrainedModel

from minidisc_ray.core.task import Task
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.export.source import ExportSource
from minidisc_ray.models.checkpoint import save_model


def tiny_source(model: PreTrainedModel, folder: Path, task: Task = TASK, num_rows: int = 200) -> ExportSource:
    save_model(LOCAL, model, builtin_tokenizer(), folder)
    return ExportSource(
        folder=folder,
        model=model.eval(),
        tokenizer=builtin_tokenizer(),
        task=task,
        validation={"validation": random_rows(num_rows, task, seed=1)},
        calibration=random_rows(32, task, seed=2),
        max_length=64,
    )
