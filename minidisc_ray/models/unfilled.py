"""A checkpoint's classifier on the meta device: its names and sizes, without reading weights."""

import warnings

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import Checkpoint
from minidisc_ray.core.task import Task
from minidisc_ray.models.label_checks import check_labels
from minidisc_ray.models.loading import is_fine_tuned, keep_layers, load_config


def build_unfilled(checkpoint: Checkpoint, task: Task) -> PreTrainedModel:
    """The classifier on the meta device, of the first layers where the recipe keeps only those, to count its parts.

    Raises:
        UserError: if its config describes no supported model, its trained head does not fit the task, or it has too few
            layers.
    """
    section = checkpoint.section
    config = load_config(checkpoint)
    if is_fine_tuned(checkpoint):
        check_labels(config, task, checkpoint.path, section)
    config.num_labels = task.num_labels
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{section}.path: config.json of {checkpoint.path} describes no model that can be built ({reason})"
        ) from error
    if checkpoint.num_layers is not None:
        keep_layers(model, checkpoint.num_layers, section)
    return model
