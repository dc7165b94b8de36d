"""Teachers, other checkpoints and tokenizers from a folder, from the hub, or built in."""

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

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.model import BuiltinTeacherConfig, Checkpoint
from minidisc_ray.core.task import Task
from minidisc_ray.models.checkpoint import nonfinite_weight, quiet
from minidisc_ray.models.config_bounds import config_flaw
from minidisc_ray.models.families import encoder_layers, family_of
from minidisc_ray.models.label_checks import check_labels
from minidisc_ray.models.problem_type import set_labels
from minidisc_ray.models.registration import PRUNED_PREFIX
from minidisc_ray.models.tokenizer_bounds import tokenizer_flaw
from minidisc_ray.models.unused import unused_flaw

_TRAINED_HEAD = ("classifier", "pre_classifier")


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """A checkpoint's own tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    _check_place(checkpoint)
    try:
        flaw = tokenizer_flaw(checkpoint)
        if flaw is None:
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.path, revision=checkpoint.revision, trust_remote_code=checkpoint.trust_remote_code
            )
    except Exception as error:
        raise UserError(
            f"{checkpoint.section}.path: no tokenizer could be loaded from {checkpoint.path} ({first_line(error)})"
        ) from error
    if flaw is not None:
        raise UserError(f"{checkpoint.section}.path: tokenizer.json of {checkpoint.path} is not usable: {flaw}")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # transformers makes up an empty vocabulary where a folder has none.
        raise UserError(f"{checkpoint.section}.path: {checkpoint.path} has no vocabulary (tokenizer.json or vocab.txt)")
    if not checkpoint.trust_remote_code:
        # A model saved from here must not refer to code that was not run here.
        tokenizer.init_kwargs.pop("auto_map", None)
    return tokenizer


def is_fine_tuned(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's head is kept: as the recipe says, or, with ``auto``, if it is a classifier's.

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
        UserError: if it cannot be loaded, or its family or its kind of positions is not supported.
    """
    _check_place(checkpoint)
    try:
        # Checked before AutoConfig makes an entry for each label.
        raw, _ = PreTrainedConfig.get_config_dict(checkpoint.path, revision=checkpoint.revision)
        flaw = config_flaw(raw)
        if flaw is None:
            config = AutoConfig.from_pretrained(
                checkpoint.path, revision=checkpoint.revision, trust_remote_code=checkpoint.trust_remote_code
            )
    except Exception as error:
        raise UserError(
            f"{checkpoint.section}.path: no model could be loaded from {checkpoint.path} ({first_line(error)})"
        ) from error
    if flaw is not None:
        raise UserError(f"{checkpoint.section}.path: config.json of {checkpoint.path} describes no model: {flaw}")
    # Outputs are read by name here, which the tuples of other configs do not allow.
    config.return_dict = True
    family_of(config.model_type, checkpoint.section)
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path} has position_embedding_type {str(positions)[:40]!r}, which "
            "is not supported; use a model with absolute positions"
        )
    if not str(config.model_type).startswith(PRUNED_PREFIX):
        # The scale is relative to a teacher that the model once had; here the model is whole.
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
        set_labels(config, task)
    torch.manual_seed(seed)
    model = load_weights(checkpoint, config, new_head=not fine_tuned, seed=seed)
    if fine_tuned:
        set_labels(model.config, task)
    if checkpoint.num_layers is not None:
        keep_layers(model, checkpoint.num_layers, checkpoint.section)
    return model


def load_weights(checkpoint: Checkpoint, config: PreTrainedConfig, new_head: bool, seed: int = 0) -> PreTrainedModel:
    """A classifier with every weight from the checkpoint.

    Args:
        checkpoint: the recipe's.
        config: the model's.
        new_head: draw the classifier from the seed, whatever the checkpoint has; a pooler, where the checkpoint has
            none, is drawn too.
        seed: of those draws.

    Raises:
        UserError: if weights are missing, have other shapes than the config says, are not finite, or are inside the
            encoder or the embeddings and would not be used.
    """
    with quiet():
        try:
            model, loading = AutoModelForSequenceClassification.from_pretrained(
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
    not_loaded = {str(key) for key in loading["missing_keys"]} | {str(entry[0]) for entry in loading["mismatched_keys"]}
    wrong = sorted(key for key in not_loaded if not (new_head and _is_of_head(key)))
    if wrong:
        hint = f"; a checkpoint without a trained head needs {checkpoint.section}.fine_tuned=false"
        raise UserError(
            f"{checkpoint.section}.path: the weights of {checkpoint.path} do not fit its config.json: {len(wrong)} are "
            f"missing or of another shape, {wrong[0]} for one{hint if _is_of_head(wrong[0]) else ''}"
        )
    if flaw := unused_flaw(model.config, set(model.state_dict()), loading["unexpected_keys"], checkpoint.section):
        raise UserError(f"{checkpoint.section}.path: {checkpoint.path} {flaw}")
    if new_head and not {name for name, _ in model.named_parameters() if _is_classifier(name)} <= not_loaded:
        _draw_classifier(model, seed)
    if (name := nonfinite_weight(model)) is not None:
        raise UserError(f"{checkpoint.section}.path: {name} of {checkpoint.path} has values that are not finite")
    return model


def _is_of_head(key: str) -> bool:
    return _is_classifier(key) or "pooler" in key.split(".")


def _is_classifier(key: str) -> bool:
    return key.split(".")[0] in _TRAINED_HEAD


def _draw_classifier(model: PreTrainedModel, seed: int) -> None:
    """Draw the classifier as transformers does where a checkpoint has none."""
    torch.manual_seed(seed)
    for name, module in model.named_modules():
        if _is_classifier(name):
            for parameter in module.parameters(recurse=False):
                # transformers marks loaded parameters so, and does not draw marked ones.
                parameter._is_hf_initialized = False
            model._init_weights(module)


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
    set_labels(config, task)
    torch.manual_seed(seed)
    return BertForSequenceClassification(config)


def position_limit(config: PreTrainedConfig) -> int:
    """The longest row, in tokens, that a model has positions for."""
    # RoBERTa's positions start after the padding token's.
    is_roberta = family_of(config.model_type).name == "roberta"
    reserved = int(config.pad_token_id or 0) + 1 if is_roberta else 0
    return int(config.max_position_embeddings) - reserved


def _check_place(checkpoint: Checkpoint) -> None:
    """Refuse a path that looks like a folder and is none: transformers would ask the hub, whose error would mislead."""
    looks_like_a_folder = checkpoint.path.startswith(("/", "./", "../", "~")) or checkpoint.path.count("/") > 1
    if not checkpoint.path.strip() or (looks_like_a_folder and not Path(checkpoint.path).is_dir()):
        raise UserError(
            f"{checkpoint.section}.path: {checkpoint.path!r} is no folder; give a model's folder, or a name on the hub"
        )


def keep_layers(model: PreTrainedModel, count: int, section: str) -> None:
    """Remove a model's layers above the first ``count``, in place.

    Raises:
        UserError: if it has fewer.
    """
    layers = encoder_layers(model)
    if count > len(layers):
        raise UserError(f"{section}.num_layers: {count} is more than the model's {len(layers)} layers")
    kept = model.base_model.get_submodule(family_of(model.config.model_type).layers)
    del kept[count:]
    if sizes := getattr(model.config, "minidisc_layers", None):
        model.config.minidisc_layers = sizes[:count]
    model.config.num_hidden_layers = count
