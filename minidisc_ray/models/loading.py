"""Teachers and tokenizers from a folder, from the hub, or built in."""

import hashlib
import json
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig, PretrainedTeacherConfig
from minidisc_ray.core.task import Task
from minidisc_ray.models.checkpoint import quiet
from minidisc_ray.models.families import encoder_layers, family_of

_IDENTITY_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "vocab.txt")


def load_tokenizer(teacher: PretrainedTeacherConfig) -> PreTrainedTokenizerBase:
    """The teacher's own tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(
            teacher.path, revision=teacher.revision, trust_remote_code=teacher.trust_remote_code
        )
    except Exception as error:
        raise UserError(
            f"teacher.path: no tokenizer could be loaded from {teacher.path} ({_first_line(error)})"
        ) from error


def is_fine_tuned(teacher: PretrainedTeacherConfig) -> bool:
    """Whether the teacher is used as it is: told by the recipe, else by its checkpoint being a classifier.

    Raises:
        UserError: if the config cannot be loaded.
    """
    if teacher.fine_tuned != "auto":
        return bool(teacher.fine_tuned)
    architectures = load_config(teacher).architectures or []
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def load_config(teacher: PretrainedTeacherConfig) -> PreTrainedConfig:
    """The teacher's config, of a supported family.

    Raises:
        UserError: if it cannot be loaded, or the family is not supported.
    """
    try:
        config = AutoConfig.from_pretrained(
            teacher.path, revision=teacher.revision, trust_remote_code=teacher.trust_remote_code
        )
    except Exception as error:
        raise UserError(f"teacher.path: no model could be loaded from {teacher.path} ({_first_line(error)})") from error
    family_of(config.model_type)
    return config


def load_teacher(teacher: PretrainedTeacherConfig, task: Task, seed: int) -> PreTrainedModel:
    """The teacher in float32, with a head for the task; a new head is drawn from the seed.

    Raises:
        UserError: if it cannot be loaded, its labels do not match the task's, or it has too few layers.
    """
    config = load_config(teacher)
    fine_tuned = is_fine_tuned(teacher)
    if fine_tuned:
        check_labels(config, task, teacher.path)
    else:
        _set_labels(config, task)
    torch.manual_seed(seed)
    with quiet():
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                teacher.path,
                config=config,
                revision=teacher.revision,
                trust_remote_code=teacher.trust_remote_code,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=not fine_tuned,
            )
        except Exception as error:
            raise UserError(
                f"teacher.path: the weights of {teacher.path} could not be loaded ({_first_line(error)})"
            ) from error
    if fine_tuned:
        _set_labels(model.config, task)
    if teacher.num_layers is not None:
        _keep_layers(model, teacher.num_layers)
    return model


def build_teacher(teacher: BuiltinTeacherConfig, task: Task, vocabulary_size: int, seed: int) -> PreTrainedModel:
    """A tiny BERT with random weights.

    Raises:
        UserError: if the hidden size is not a multiple of the number of heads.
    """
    if teacher.hidden_size % teacher.num_heads:
        raise UserError(
            f"teacher.hidden_size: {teacher.hidden_size} is not a multiple of teacher.num_heads ({teacher.num_heads})"
        )
    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=teacher.hidden_size,
        num_hidden_layers=teacher.num_layers,
        num_attention_heads=teacher.num_heads,
        intermediate_size=teacher.intermediate_size,
        max_position_embeddings=128,
    )
    _set_labels(config, task)
    torch.manual_seed(seed)
    return BertForSequenceClassification(config)


def check_labels(config: PreTrainedConfig, task: Task, where: str) -> None:
    """Refuse a trained head that cannot be the task's.

    Raises:
        UserError: if the number of outputs or the label names differ.
    """
    found = int(config.num_labels)
    if found != task.num_labels:
        raise UserError(
            f"teacher.path: the head of {where} has {found} outputs, but {task.name} needs {task.num_labels}; use "
            "another teacher, or teacher.fine_tuned=false to train a new head"
        )
    names = [str(config.id2label[i]).lower() for i in range(found)]
    wanted = [name.lower() for name in task.label_names]
    # Names of its own (LABEL_0, yes, ...) are taken on trust; the task's own names in another order cannot be right.
    if names != wanted and sorted(names) == sorted(wanted):
        raise UserError(
            f"teacher.path: the head of {where} has its labels in the order {names}, but {task.name} has {wanted}; use "
            "another teacher, or teacher.fine_tuned=false"
        )


def content_digest(teacher: PretrainedTeacherConfig) -> str:
    """A digest of the files that make the teacher what it is, wherever they lie.

    Raises:
        UserError: if a weights file is missing.
    """
    sums: dict[str, str] = {}
    for name in _IDENTITY_FILES:
        path = _find(teacher, name)
        if path is not None:
            sums[name] = _sha256(path)
    if "model.safetensors.index.json" in sums:
        index = json.loads(Path(_find(teacher, "model.safetensors.index.json") or "").read_text(encoding="utf-8"))
        for name in sorted(set(index["weight_map"].values())):
            path = _find(teacher, name)
            sums[name] = _sha256(path) if path else "missing"
    if not any(name.endswith(".safetensors") for name in sums):
        raise UserError(f"teacher.path: {teacher.path} has no model.safetensors; weights are read as safetensors only")
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]


def _find(teacher: PretrainedTeacherConfig, name: str) -> Path | None:
    found = cached_file(
        teacher.path,
        name,
        revision=teacher.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(found) if found else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_labels(config: PreTrainedConfig, task: Task) -> None:
    names = task.label_names or ("value",)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = "regression" if task.is_regression else "single_label_classification"


def _keep_layers(model: PreTrainedModel, count: int) -> None:
    layers = encoder_layers(model)
    if count > len(layers):
        raise UserError(f"teacher.num_layers: {count} is more than the model's {len(layers)} layers")
    kept = model.base_model.get_submodule(family_of(model.config.model_type).layers)
    del kept[count:]
    model.config.num_hidden_layers = count


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
