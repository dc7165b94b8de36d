"""Stages that several runs share: the teacher, and importance. Each is computed once for a storage root."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure, UnitRanking, rank_units, structure_at
from minidisc_ray.data import EncodedRows, builtin_vocabulary
from minidisc_ray.evaluation import merge_scores, score
from minidisc_ray.files.mirroring import is_mirrored, unpublished
from minidisc_ray.files.patience import patiently
from minidisc_ray.files.writing import make_folder, put_in_place, remove, temporary_beside, write_file
from minidisc_ray.models.checkpoint import load_model, note_inputs, save_model
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import build_teacher, load_teacher
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.context import Context, logger
from minidisc_ray.pipeline.mirrored import bring_small
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.predictions import SELECTION, VALIDATION, keep_predictions, read_predictions
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.reading import unknown_token_warnings
from minidisc_ray.pipeline.records import MODEL, StageRecord, find_finished, read_record, write_record
from minidisc_ray.pipeline.teacher_check import refusal_of, teacher_warning
from minidisc_ray.schedules.plan import MAIN_TRIAL
from minidisc_ray.training.checkpoints import drop_checkpoints
from minidisc_ray.training.finetune import finetune
from minidisc_ray.training.importance import measure_importance
from minidisc_ray.training.score import pass_flops, score_model
from minidisc_ray.training.state import TrainingState

_IMPORTANCE, _LEDGER = "importance.safetensors", "ledger.jsonl"


def teacher_folder(prepared: Prepared) -> Path:
    """Where the teacher lies once it is made."""
    return prepared.shared_folder / f"teacher-{prepared.teacher_key}"


def importance_folder(prepared: Prepared) -> Path:
    """Where the importance scores lie once they are measured."""
    return prepared.shared_folder / f"importance-{prepared.importance_key}"


def ensure_teacher(context: Context) -> StageRecord:
    """The fine-tuned, scored teacher; made now unless another run made the same one.

    Raises:
        UserError: if it has learned nothing, which ends the run before anything else is paid.
    """
    prepared = context.prepared
    record = _ensure(context, "teacher", teacher_folder(prepared), MODEL, _make_teacher)
    answers = read_predictions(teacher_folder(prepared), MAIN_TRIAL, "teacher") if context.workers.is_first else None
    refusal = refusal_of(prepared, answers[f"{SELECTION}/{TEACHER_PERCENT}"]) if answers is not None else None
    # All workers stop, or none: one that went on alone would wait for the others.
    (refusal,) = context.workers.agree_on_names((refusal or "",))
    if refusal:
        raise UserError(refusal)
    warnings = [*unknown_token_warnings(prepared), *([record.warning] if record.warning is not None else [])]
    for warning in warnings if context.workers.is_first else ():
        logger.warning("[%s] %s", context.trial, warning)
    return record


def ensure_importance(context: Context) -> StageRecord:
    """Importance scores of the teacher; measured now unless another run did."""
    return _ensure(context, "importance", importance_folder(context.prepared), _IMPORTANCE, _make_importance)


def load_shared_teacher(prepared: Prepared) -> PreTrainedModel:
    """The teacher, its heads and neurons in their original order."""
    return load_model(teacher_folder(prepared) / "model")


def load_rankings(prepared: Prepared) -> tuple[UnitRanking, UnitRanking]:
    """Rankings of heads and neurons from the measured importance.

    Raises:
        UserError: if it is damaged.
    """
    folder = importance_folder(prepared)
    bring_small(folder)
    if (folder / _IMPORTANCE).exists() and read_record(folder) is None:
        raise UserError(f"{folder}: the measured importance is damaged; run again, which measures it anew")
    tensors = load_file(folder / _IMPORTANCE)
    scope = prepared.config.pruning.ranking
    layers = range(prepared.shape.num_layers)
    heads = rank_units([tensors[f"heads.{layer:03d}"] for layer in layers], scope)
    neurons = rank_units([tensors[f"neurons.{layer:03d}"] for layer in layers], scope)
    return heads, neurons


def structures_of(prepared: Prepared, scales: tuple[int, ...]) -> dict[int, Structure]:
    """The nested structures at some scales."""
    if not scales:
        return {}
    heads, neurons = load_rankings(prepared)
    multiple = prepared.config.pruning.neuron_multiple
    return {scale: structure_at(heads, neurons, scale, multiple) for scale in scales}


def _ensure(
    context: Context,
    name: str,
    folder: Path,
    left: str,
    make: Callable[[Context, Path, Callable[[], None]], StageRecord],
) -> StageRecord:
    """Make a shared artifact in this run's own folder, then publish it whole; the first whole one published stays.

    Args:
        context: of the trial that needs it.
        name: the stage's.
        folder: where it is published.
        left: the file or folder in it that others use.
        make: makes it in the folder that it is given.
    """
    workers = context.workers
    if workers.agree(float(workers.is_first and find_finished(folder, left) is not None)):
        record = read_record(folder, verify=False)
        assert record is not None
        context.stage_index += 1
        if workers.is_first:
            logger.info("[%s] %s: taken from %s", context.trial, name, folder.name)
        return record
    work = context.folder / "stages" / name
    if workers.is_first:
        _carry_ledger(folder, work)
    with context.attempt(name, (Ledger(work / _LEDGER),)) as beat:
        record = make(context, work, beat)
        if workers.is_first:
            write_record(work, record)
    workers.wait()
    if workers.is_first:
        drop_checkpoints(work)
        patiently(lambda: _publish(work, folder, left), folder)
    workers.wait()
    return record


def _carry_ledger(folder: Path, work: Path) -> None:
    """What was held for an artifact that is damaged now was held all the same."""
    if is_mirrored(folder):
        if not Ledger(work / _LEDGER).attempts():
            Ledger(folder / _LEDGER).copy_to(work / _LEDGER)
    elif (folder / _LEDGER).exists() and not (work / _LEDGER).exists():
        write_file(work / _LEDGER, lambda temporary: shutil.copyfile(folder / _LEDGER, temporary))


def _publish(work: Path, folder: Path, left: str) -> None:
    make_folder(folder.parent)
    if find_finished(folder, left) is not None:
        remove(work)
        return
    incoming = temporary_beside(folder)
    # A try before this one may have come as far as here.
    if work.exists():
        remove(incoming)
        shutil.move(work, incoming)
    put_in_place(incoming, folder)
    unpublished(work)


def _make_teacher(context: Context, work: Path, beat: Callable[[], None]) -> StageRecord:
    prepared, workers = context.prepared, context.workers
    config, task = prepared.config, prepared.task
    if isinstance(config.teacher, BuiltinTeacherConfig):
        model = build_teacher(config.teacher, task, len(builtin_vocabulary()), config.seed)
    else:
        model = load_teacher(config.teacher, task, config.seed)
    note_inputs(model.config, task.text_columns, config.data.max_length)
    state: TrainingState | None = None
    if not prepared.teacher_is_fine_tuned:
        observer = StageObserver(context, "teacher", config.finetune.num_epochs, beat)
        with closing(observer):
            state = finetune(
                model.to(workers.device),
                prepared.train,
                prepared.selection,
                task,
                config.finetune,
                config.precision,
                config.seed,
                prepared.pad_token_id,
                workers,
                work,
                observer,
            )
    if workers.is_first:
        save_model(model, prepared.tokenizer, work / "model")
    workers.wait()
    model = load_model(work / "model").to(workers.device)
    selection, validation = selection_logits(context, model), validation_logits(context, model)
    evaluation_flops: float = scoring_flops(model, [prepared.selection, *prepared.validation.values()])
    if workers.is_first:
        answers = {f"{VALIDATION}/{name}": logits for name, logits in validation.items()}
        keep_predictions(work, MAIN_TRIAL, "teacher", {f"{SELECTION}/{TEACHER_PERCENT}": selection, **answers})
    return StageRecord(
        stage="teacher",
        trial=context.trial,
        scale_percent=TEACHER_PERCENT,
        num_epochs=state.epochs_done if state else 0,
        best_epoch=state.best_epoch if state else None,
        training_flops=state.training_flops if state else 0.0,
        evaluation_flops=evaluation_flops + (state.evaluation_flops if state else 0.0),
        history=state.history if state else (),
        warning=teacher_warning(prepared, selection),
        selection_metrics={TEACHER_PERCENT: selection_metrics(prepared, selection)},
        validation_metrics=validation_metrics(prepared, validation),
    )


def selection_logits(context: Context, model: PreTrainedModel) -> np.ndarray:
    """A model's answers on the selection split, (N, C)."""
    return _logits(context, model, context.prepared.selection)


def validation_logits(context: Context, model: PreTrainedModel) -> dict[str, np.ndarray]:
    """A model's answers on every validation set, (N, C) each."""
    return {name: _logits(context, model, rows) for name, rows in context.prepared.validation.items()}


def selection_metrics(prepared: Prepared, logits: np.ndarray) -> dict[str, float]:
    """Metrics of answers, (N, C), on the selection split."""
    return score(prepared.task, logits, prepared.selection.labels.numpy())


def validation_metrics(prepared: Prepared, logits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics of answers, (N, C) by validation set, over all of them."""
    by_split = {
        name: score(prepared.task, found, prepared.validation[name].labels.numpy()) for name, found in logits.items()
    }
    return merge_scores(prepared.task, by_split)


def scoring_flops(model: PreTrainedModel, splits: Iterable[EncodedRows]) -> int:
    """FLOPs of a model's answers on some splits."""
    shape, structure = shape_of(model), structure_of(model.config)
    return sum(pass_flops(shape, structure, rows) for rows in splits)


def _logits(context: Context, model: PreTrainedModel, rows: EncodedRows) -> np.ndarray:
    prepared = context.prepared
    return score_model(model, rows, prepared.pad_token_id, context.workers, prepared.config.precision)


def _make_importance(context: Context, work: Path, beat: Callable[[], None]) -> StageRecord:
    prepared = context.prepared

    def on_batch(done: int, count: int) -> None:
        if done % 20 == 0 or done >= count:
            context.progress("importance", "running", min(done, count), count)
            beat()

    importance = measure_importance(
        load_shared_teacher(prepared),
        prepared.train,
        _importance_rows(prepared),
        prepared.task,
        prepared.pad_token_id,
        context.workers,
        on_batch,
    )
    if context.workers.is_first:
        tensors = {f"heads.{layer:03d}": scores for layer, scores in enumerate(importance.heads)}
        tensors |= {f"neurons.{layer:03d}": scores for layer, scores in enumerate(importance.neurons)}
        write_file(work / _IMPORTANCE, lambda temporary: save_file(tensors, temporary))
    return StageRecord(stage="importance", trial=context.trial, training_flops=importance.flops)


def _importance_rows(prepared: Prepared) -> Tensor:
    count, limit = len(prepared.train), prepared.config.pruning.importance_rows
    if limit is None or limit >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(prepared.config.data.selection_seed)
    return torch.randperm(count, generator=generator)[:limit].sort().values
