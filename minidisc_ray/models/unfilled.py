"""A checkpoint's classifier without its weights: all that can be known of it before they are read."""

import warnings

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import Checkpoint
from minidisc_ray.core.task import Task
from minidisc_ray.models.loading import check_labels, is_fine_tuned, load_config


def build_unfilled(checkpoint: Checkpoint, task: Task) -> PreTrainedModel:
    """The classifier on the meta device, of the first layers where the recipe keeps only those, to count its parts.

    Raises:
        UserError: if its config describes no supported model, its trained head is not the task's, or it has too few
            layers.
    """
    section = checkpoint.section
    config = load_config(checkpoint)
    if is_fine_tuned(checkpoint):
        check_labels(config, task, checkpoint.path, section)
    try:
        layers = int(config.num_hidden_layers)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{section}.path: config.json of {checkpoint.path} describes no model that can be built ({error})"
        ) from error
    if checkpoint.num_layers is not None:
        if checkpoint.num_layers > layers:
            raise UserError(f"{section}.num_layers: {checkpoint.num_layers} is more than the model's {layers} layers")
        config.num_hidden_layers = checkpoint.num_layers
    config.num_labels = task.num_labels
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AutoModelForSequenceClassification.from_config(config)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{section}.path: config.json of {checkpoint.path} describes no model that can be built ({reason})"
        ) from error
