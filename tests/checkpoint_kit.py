"""Pretrained encoders for students with a checkpoint of their own, narrower and shallower than the tiny teacher."""

from pathlib import Path

import torch
from pipeline_kit import prepared_run
from storage_kit import LOCAL
from tiny_models import tiny_config
from transformers import AutoModel, PreTrainedTokenizerBase

from minidisc_ray.core.task import Task
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.models.checkpoint import save_model
from minidisc_ray.preparation.prepared_run import PreparedRun

TASK = Task("tiny", ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",))
# The teacher has 2 layers of width 32, with 4 heads and 64 neurons: 17,088 encoder parameters.
LAYERS, WIDTH, HEADS, NEURONS = 1, 16, 2, 32
ENCODER_PARAMETERS, SCALE = 2224, 13
# Beside those of ``pipeline_kit``: the schedule to start from, and what is changed in it.
OTHER_SCHEDULES = {
    "sparse_teacher": ("conventional", "schedule={kind: sparse_teacher, teacher_percent: 80}"),
    "law": ("conventional", "schedule={kind: law, scales: [60, 30]}"),
    "residual": ("minidisc", "schedule.residual=true"),
    "matched": ("conventional", "schedule.match={kind: minidisc, scales: [60, 30], num_sampled: 2}"),
}


def save_encoder(
    folder: Path,
    family: str = "bert",
    tokenizer: PreTrainedTokenizerBase | None = None,
    layers: int = LAYERS,
    width: int = WIDTH,
    heads: int = HEADS,
    neurons: int = NEURONS,
    seed: int = 1,
    **others: int,
) -> Path:
    """Save an encoder without a head, of random weights, with the built-in vocabulary unless another is given."""
    config = tiny_config(family, TASK)
    neurons_key = "hidden_dim" if family == "distilbert" else "intermediate_size"
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads, neurons_key: neurons}
    for name, value in ({"vocab_size": len(builtin_vocabulary())} | sizes | others).items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    save_model(LOCAL, AutoModel.from_config(config), tokenizer or builtin_tokenizer(), folder)
    return folder


def student_at(folder: Path, **values: object) -> tuple[str, str]:
    """Overrides that name a saved encoder as the student."""
    given = "".join(f", {key}: {value}" for key, value in values.items())
    return (f"student={{kind: checkpoint, path: {folder}{given}}}", "objective.kind=kd")


def prepared_student(storage: Path, kind: str, folder: Path, *overrides: str) -> PreparedRun:
    """A tiny run that distils to a saved encoder."""
    start, *changes = OTHER_SCHEDULES.get(kind, (kind,))
    return prepared_run(storage, start, (*student_at(folder), *changes, *overrides))
