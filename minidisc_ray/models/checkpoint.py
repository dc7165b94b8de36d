"""Model folders: weights in safetensors, structure in the config, tokenizer and label names beside them; sealed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.files.digests import SEAL, check_seal
from minidisc_ray.files.places import place_of
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import TRANSIENT
from minidisc_ray.files.writing import json_value
from minidisc_ray.models.config_bounds import config_flaw
from minidisc_ray.models.folder_readme import folder_readme
from minidisc_ray.models.unused import unused_flaw
from minidisc_ray.models.weight_files import INDEX, WEIGHTS, index_flaw


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' progress bars and its report of a new head's missing weights, which are expected here."""
    level, had_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if had_bar:
            transformers_logging.enable_progress_bar()


def save_model(
    storage: Storage,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a sealed folder that the Auto classes load; it appears whole or not at all.

    Args:
        storage: has the folder.
        model: dense or pruned.
        tokenizer: the model's.
        folder: is replaced if it exists.
        texts: more files, by name; a ``README.md`` among them replaces the usual one.

    Raises:
        StorageError: if the storage does not come back in time.
    """
    storage.write_folder(folder, lambda temporary: fill_folder(model, tokenizer, temporary, texts))


def fill_folder(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, texts: Mapping[str, str] | None = None
) -> None:
    """Write the files of :func:`save_model` into an existing folder, without a seal."""
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    readme = folder_readme(model)
    files = ({} if readme is None else {"README.md": readme}) | dict(texts or {})
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def note_inputs(config: PreTrainedConfig, task: Task, max_length: int) -> None:
    """Note in a model's config what it reads, so that it predicts and scores a file; smaller models inherit it."""
    config.minidisc_text_columns = list(task.text_columns)
    config.minidisc_label_column = list(task.label_columns) or task.label_column
    config.minidisc_max_length = max_length


def load_stored_model(storage: Storage, folder: Path) -> PreTrainedModel:
    """As :func:`load_model`, after fetching the folder; waits while the storage is away."""
    storage.fetch_sealed(folder)
    return storage.retry(lambda: load_model(folder), folder)


def load_model(folder: str | Path) -> PreTrainedModel:
    """A saved dense or pruned classifier, in float32.

    Raises:
        UserError: if the folder has none, or its files are damaged, unsafe or do not fit its config.
    """
    place = place_of(Path(folder))
    try:
        is_model = (Path(folder) / "config.json").is_file()
    except OSError as error:
        # A storage that is away for a moment is not the user's mistake.
        if error.errno in TRANSIENT:
            raise
        raise UserError(
            f"{place}: cannot be read ({error.strerror}); give a student's folder that you may read"
        ) from error
    if not is_model:
        raise UserError(f"{place}: no model there (config.json is missing); give a student's folder")
    if (flaw := _folder_flaw(Path(folder))) is not None:
        raise UserError(f"{place}: {flaw}")
    if (flaw := check_seal(Path(folder))) is not None:
        raise UserError(
            f"{place}: the model is damaged ({flaw}); copy it again, or remove the folder and run its recipe again, "
            f"or remove its {SEAL} if the change was meant"
        )
    try:
        with quiet():
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:
        reason = " ".join(str(error).split())
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights do not have the sizes that its config.json gives"
        raise UserError(f"{place}: the model could not be loaded ({reason[:200]})") from error
    if loading["missing_keys"]:
        raise UserError(
            f"{place}: not a trained classifier that fits its config.json: {len(loading['missing_keys'])} weights are "
            f"missing, {min(map(str, loading['missing_keys']))} for one"
        )
    if (flaw := unused_flaw(model.config, set(model.state_dict()), loading["unexpected_keys"], "teacher")) is not None:
        raise UserError(f"{place}: the model {flaw}")
    # Outputs are read by name here, which the tuples of other configs do not allow.
    model.config.return_dict = True
    if (name := nonfinite_weight(model)) is not None:
        raise UserError(f"{place}: {name} has values that are not finite, so every prediction would be wrong")
    return model


def nonfinite_weight(model: PreTrainedModel) -> str | None:
    """The name of a weight with values that are not finite; None if there is none."""
    weights = model.named_parameters()
    return next((name for name, weight in weights if not bool(torch.isfinite(weight).all())), None)


def _folder_flaw(folder: Path) -> str | None:
    """What makes a folder unsafe to load: sizes beyond bounds, weights elsewhere or not in safetensors; else None."""
    # A link is followed: the hub's cache is made of them.
    raw = json_value(read_regular(folder / "config.json", follow_link=True))
    if not isinstance(raw, dict):
        return "its config.json cannot be read"
    if (flaw := config_flaw(raw)) is not None:
        return f"its config.json describes no model: {flaw}"
    if not (index := folder / INDEX).exists():
        return None if (folder / WEIGHTS).exists() else f"there is no {WEIGHTS}; weights are read as safetensors alone"
    return index_flaw(index)
