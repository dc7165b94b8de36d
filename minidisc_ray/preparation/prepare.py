"""Everything that is checked and known before anything starts."""

import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import run_identity, run_name
from minidisc_ray.configs.model import BuiltinTeacherConfig, LayersStudentConfig
from minidisc_ray.configs.redact import is_redacted_form
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.data import Splits, builtin_tokenizer, builtin_vocabulary, load_splits, tokenizer_digest
from minidisc_ray.files.mirroring import download_file
from minidisc_ray.files.patience import StorageError, retry_storage, wait_for_storage
from minidisc_ray.files.reading import read_regular
from minidisc_ray.models.contents import check_all_used, content_digest
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import build_teacher, is_fine_tuned, load_tokenizer, position_limit
from minidisc_ray.models.unfilled import build_unfilled
from minidisc_ray.preparation.checkpoint_student import plan_for, with_checkpoint_student
from minidisc_ray.preparation.matched_epochs import with_matched_epochs
from minidisc_ray.preparation.objective import check_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.sizes import check_structures, with_law_scale
from minidisc_ray.preparation.student_scale import layers_percent
from minidisc_ray.preparation.tokenizer import check_tokenizer


def prepare(config: RunConfig, splits: Splits | None = None) -> PreparedRun:
    """Check a recipe against its data, model and storage; starts nothing.

    Args:
        config: the recipe.
        splits: its rows, where they were loaded before.

    Raises:
        UserError: for the first mistake found.
    """
    splits = splits or load_splits(config)
    if isinstance(config.teacher, BuiltinTeacherConfig):
        tokenizer: PreTrainedTokenizerBase = builtin_tokenizer()
        fine_tuned, teacher_digest = False, "builtin"
        with torch.device("meta"):
            model = build_teacher(config.teacher, splits.task, len(builtin_vocabulary()), config.seed)
        limit = 128
    else:
        tokenizer = load_tokenizer(config.teacher)
        model = build_unfilled(config.teacher, splits.task)
        fine_tuned = is_fine_tuned(config.teacher)
        limit = position_limit(model.config)
        teacher_digest = content_digest(config.teacher)
        check_all_used(config.teacher, model)
    check_tokenizer(tokenizer, model)
    if config.data.max_length > limit:
        raise UserError(f"data.max_length: {config.data.max_length} is more than the teacher's {limit} positions")
    shape = shape_of(model)
    if isinstance(config.student, LayersStudentConfig):
        config = config.with_student_scale(layers_percent(config.student, shape.num_layers))
    config, own = with_checkpoint_student(config, splits.task, tokenizer, shape)
    config = with_law_scale(config, shape, None if own is None else own.encoder_parameters)
    check_structures(config, shape)
    prepared = PreparedRun(
        config=config,
        splits=splits,
        tokenizer=tokenizer,
        plan=plan_for(config, own),
        shape=shape,
        identity={},
        name="",
        teacher_is_fine_tuned=fine_tuned,
        checkpoint_student=own,
    )
    prepared = with_matched_epochs(prepared)
    contents = {"data": splits.digest, "teacher": teacher_digest, "tokenizer": tokenizer_digest(tokenizer)}
    if own is not None:
        contents["student"] = own.digest
    identity = run_identity(prepared.config, contents)
    prepared = replace(prepared, identity=identity, name=run_name(prepared.config, identity))
    check_objective(prepared)
    check_storage(prepared)
    return prepared


def has_begun(run_folder: Path) -> bool:
    """Whether there is a run in a folder already, which the same recipe goes on with."""
    return (run_folder / "identity.json").is_file()


def check_storage(prepared: PreparedRun) -> None:
    """Refuse a storage that cannot be written and a run directory that another config made.

    Where this process is at work on a run its storage was there before, and is waited for; elsewhere nobody waits.

    Raises:
        UserError: saying which.
    """
    try:
        wait_for_storage(prepared.storage)
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    existing = _existing_part(prepared.storage, prepared.config.storage)
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    # What goes on waits for its storage where it writes.
    if not is_writable and not has_begun(prepared.run_folder):
        raise UserError(f"storage: {prepared.config.storage} cannot be written ({existing} is not a writable folder)")
    folder = prepared.run_folder
    if folder.resolve().parent != prepared.storage:
        raise UserError(f"name: {prepared.name!r} leaves the storage root {prepared.storage}; choose another name")
    marker = folder / "identity.json"
    try:
        download_file(marker)
    except OSError as error:
        raise UserError(f"storage: {error}") from error
    if not folder.exists():
        return
    try:
        found = json.loads(retry_storage(lambda: read_regular(marker), marker).decode("utf-8"))
    except StorageError as error:
        raise UserError(f"storage: {error}") from error
    except FileNotFoundError:
        # A driver marks the folder as its own before it makes the run; what is hidden are such marks, and leftovers.
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(f"name: {folder} exists and is not a run's folder; choose another name") from None
        return
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"name: {marker} cannot be read ({error}); choose another name or remove {folder}") from error
    if not isinstance(found, dict):
        raise UserError(f"name: {marker} is not a run's; choose another name or remove {folder}")
    identity = json.loads(json.dumps(prepared.identity))
    if not is_redacted_form(found, identity):
        if found.get("numerics", identity["numerics"]) != identity["numerics"]:
            raise UserError(
                f"name: {folder} was made by another release, whose numbers this one does not give; its result can "
                "still be read; choose another name for this run"
            )
        changed = sorted(key for key in identity if not is_redacted_form(found.get(key), identity[key]))
        raise UserError(
            f"name: {folder} was made by another config (different: {', '.join(changed) or 'keys'}); choose another "
            "name or remove it"
        )


def _existing_part(storage: Path, given: str) -> Path:
    """The longest part of a path that is there."""
    try:
        while not storage.exists() and storage != storage.parent:
            storage = storage.parent
    except OSError as error:
        raise UserError(f"storage: {given[:80]!r} cannot be reached ({error.strerror}); give another folder") from error
    return storage
