"""Teachers, other checkpoints and tokenizers from a folder, from the hub, or built in."""

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
from minidisc_ray.configs.model import BuiltinTeacherConfig, Checkpoint
from minidisc_ray.core.task import Task
from minidisc_ray.models.checkpoint import quiet
from minidisc_ray.models.families import PRUNED_PREFIX, encoder_layers, family_of
from minidisc_ray.models.weight_files import ENDING, check_weights_file, first_line, shards

_IDENTITY_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "vocab.txt")


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """A checkpoint's own tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    _check_place(checkpoint)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint.path, revision=checkpoint.revision, trust_remote_code=checkpoint.trust_remote_code
        )
    except Exception as error:
        raise UserError(
            f"{checkpoint.section}.path: no tokenizer could be loaded from {checkpoint.path} ({first_line(error)})"
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # transformers makes up an empty vocabulary where a folder has none.
        raise UserError(f"{checkpoint.section}.path: {checkpoint.path} has no vocabulary (tokenizer.json or vocab.txt)")
    return tokenizer


def is_fine_tuned(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's head is used as it is: told by the recipe, else by its being a classifier.

    Raises:
        UserError: if the config cannot be loaded.
    """
    if checkpoint.fine_tuned != "auto":
        return bool(checkpoint.fine_tuned)
    architectures = load_config(checkpoint).architectures
    names = architectures if isinstance(architectures, list) else []
    return any(str(name).endswith("ForSequenceClassification") for name in names)


def load_config(checkpoint: Checkpoint) -> PreTrainedConfig:
    """A checkpoint's config, of a supported family.

    Raises:
        UserError: if it cannot be loaded, or the family is not supported.
    """
    _check_place(checkpoint)
    try:
        config = AutoConfig.from_pretrained(
            checkpoint.path, revision=checkpoint.revision, trust_remote_code=checkpoint.trust_remote_code
        )
    except Exception as error:
        raise UserError(
            f"{checkpoint.section}.path: no model could be loaded from {checkpoint.path} ({first_line(error)})"
        ) from error
    family_of(config.model_type, checkpoint.section)
    if not str(config.model_type).startswith(PRUNED_PREFIX):
        # Its scale beside a teacher that it may have had once; here it stands for itself.
        vars(config).pop("minidisc_scale_percent", None)
    return config


def load_teacher(checkpoint: Checkpoint, task: Task, seed: int) -> PreTrainedModel:
    """The teacher, or a student with its own checkpoint, in float32; a new head is drawn from the seed.

    Raises:
        UserError: if it cannot be loaded, its weights do not fit its config, its labels do not match the task's, or it
            has too few layers.
    """
    config = load_config(checkpoint)
    fine_tuned = is_fine_tuned(checkpoint)
    if fine_tuned:
        check_labels(config, task, checkpoint.path, checkpoint.section)
    else:
        _set_labels(config, task)
    torch.manual_seed(seed)
    model = load_weights(checkpoint, config, new_head=not fine_tuned)
    if fine_tuned:
        _set_labels(model.config, task)
    if checkpoint.num_layers is not None:
        _keep_layers(model, checkpoint.num_layers, checkpoint.section)
    return model


def load_weights(checkpoint: Checkpoint, config: PreTrainedConfig, new_head: bool) -> PreTrainedModel:
    """A classifier with every weight from the checkpoint; only a new head (pooler, classifier) may be random.

    Raises:
        UserError: if weights are missing, have other shapes than the config says, or are not finite.
    """
    with quiet():
        try:
            model, told = AutoModelForSequenceClassification.from_pretrained(
                checkpoint.path,
                config=config,
                revision=checkpoint.revision,
                trust_remote_code=checkpoint.trust_remote_code,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise UserError(
                f"{checkpoint.section}.path: the weights of {checkpoint.path} could not be loaded ({first_line(error)})"
            ) from error
    random = {str(key) for key in told["missing_keys"]} | {str(entry[0]) for entry in told["mismatched_keys"]}
    wrong = sorted(key for key in random if not (new_head and _is_of_head(key)))
    if wrong:
        hint = f"; a checkpoint without a trained head needs {checkpoint.section}.fine_tuned=false"
        raise UserError(
            f"{checkpoint.section}.path: the weights of {checkpoint.path} do not fit its config.json: {len(wrong)} are "
            f"missing or of another shape, {wrong[0]} for one{hint if _is_of_head(wrong[0]) else ''}"
        )
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise UserError(f"{checkpoint.section}.path: {name} of {checkpoint.path} has values that are not finite")
    return model


def _is_of_head(key: str) -> bool:
    return any(part in key.split(".") for part in ("classifier", "pre_classifier", "pooler"))


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


def position_limit(config: PreTrainedConfig) -> int:
    """The longest row, in tokens, that a model has positions for."""
    # RoBERTa's positions start after the padding token's.
    is_roberta = family_of(config.model_type).name == "roberta"
    reserved = int(config.pad_token_id or 0) + 1 if is_roberta else 0
    return int(config.max_position_embeddings) - reserved


def check_labels(config: PreTrainedConfig, task: Task, where: str, section: str = "teacher") -> None:
    """Refuse a trained head that cannot be the task's.

    Args:
        config: of the model.
        task: what it is to predict.
        where: the model lies, for messages.
        section: of the recipe that names it.

    Raises:
        UserError: if the number of outputs or the label names differ.
    """
    found = int(config.num_labels)
    if found != task.num_labels:
        raise UserError(
            f"{section}.path: the head of {where} has {found} outputs, but {task.name} needs {task.num_labels}; use "
            f"another {section}, or {section}.fine_tuned=false to train a new head"
        )
    names = [str((config.id2label or {}).get(i, f"LABEL_{i}")).lower() for i in range(found)]
    wanted = [name.lower() for name in task.label_names]
    # Names of its own (LABEL_0, yes, ...) are taken on trust; the task's own names in another order cannot be right.
    if names != wanted and sorted(names) == sorted(wanted):
        raise UserError(
            f"{section}.path: the head of {where} has its labels in the order {names}, but {task.name} has {wanted}; "
            f"use another {section}, or {section}.fine_tuned=false"
        )


def content_digest(checkpoint: Checkpoint) -> str:
    """A digest of the files that make a model what it is, wherever they lie.

    Raises:
        UserError: if a weights file is missing.
    """
    sums: dict[str, str] = {}
    for name in _IDENTITY_FILES:
        path = _find(checkpoint, name)
        if path is not None:
            sums[name] = _sha256(path)
            if name == "model.safetensors":
                check_weights_file(path, checkpoint)
    index_path = _find(checkpoint, "model.safetensors.index.json")
    if index_path is not None:
        for name in shards(index_path, checkpoint):
            path = _find(checkpoint, name)
            if path is None:
                raise UserError(
                    f"{checkpoint.section}.path: {name} is named by the index of {checkpoint.path}, but is not there"
                )
            sums[name] = _sha256(path)
    if not any(name.endswith(ENDING) for name in sums):
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path} has no model.safetensors; weights are read as safetensors "
            "only"
        )
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]


def _check_place(checkpoint: Checkpoint) -> None:
    """A path that looks like a folder and is none would be asked of the hub, with an answer that helps nobody."""
    looks_like_a_folder = checkpoint.path.startswith(("/", "./", "../", "~")) or checkpoint.path.count("/") > 1
    if not checkpoint.path.strip() or (looks_like_a_folder and not Path(checkpoint.path).is_dir()):
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path!r} is no folder; give a model's folder, or a name on the hub"
        )


def _find(checkpoint: Checkpoint, name: str) -> Path | None:
    found = cached_file(
        checkpoint.path,
        name,
        revision=checkpoint.revision,
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


def _keep_layers(model: PreTrainedModel, count: int, section: str) -> None:
    layers = encoder_layers(model)
    if count > len(layers):
        raise UserError(f"{section}.num_layers: {count} is more than the model's {len(layers)} layers")
    kept = model.base_model.get_submodule(family_of(model.config.model_type).layers)
    del kept[count:]
    sizes = model.config.to_dict().get("per_layer_config")
    if sizes:
        model.config.per_layer_config = {layer: found for layer, found in sizes.items() if int(layer) < count}
    model.config.num_hidden_layers = count
