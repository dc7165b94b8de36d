"""The one training loop; every stage that learns runs it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn, optim

from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.trace import Totals
from minidisc_ray.data import EncodedRows, collate, epoch_batches, shard, take_rows
from minidisc_ray.files.storage import Storage
from minidisc_ray.models.dropout import seed_dropout
from minidisc_ray.training.checkpoints import Checkpoints
from minidisc_ray.training.clipping import Clipping
from minidisc_ray.training.learner import Evaluation, Learner
from minidisc_ray.training.notice import Preempted, must_stop
from minidisc_ray.training.predict import to_device
from minidisc_ray.training.race_check import RaceCheck
from minidisc_ray.training.state import EpochRecord, LossSum, TrainingState, best_epoch
from minidisc_ray.training.step_meter import StepMeter
from minidisc_ray.training.sums import LossSums


class TrainingError(RuntimeError):
    """Training cannot go on: one sentence with the step; the last good checkpoint is kept."""


class Observer(Protocol):
    """Is called as training goes on, on every worker."""

    def on_step(self, step: int, num_steps: int, epoch: int, losses: dict[str, Tensor]) -> None:
        """After an optimiser step; ``losses`` are this worker's, still on the device."""

    def on_check(self, check: RaceCheck) -> None:
        """After an evaluation of a race's candidates."""

    def on_epoch(self, record: EpochRecord, checkpoint: Path) -> None:
        """After an evaluation, with the newest checkpoint's folder."""


def train(
    learner: Learner,
    rows: EncodedRows,
    training: TrainingConfig,
    seed: int,
    storage: Storage,
    folder: Path,
    observer: Observer,
    last_epoch: int | None = None,
) -> TrainingState:
    """Train to the end, from the newest whole checkpoint in ``folder`` if any, and leave the best weights in the model.

    Args:
        learner: what to train.
        rows: the training split.
        training: the stage's config.
        seed: of row order and dropout.
        storage: has the stage's folder.
        folder: the stage's, with the stage's name; has its checkpoints.
        observer: called after every step, check of a race and epoch.
        last_epoch: the epoch to stop after, as if training went on; by default the last one of ``training``.

    Raises:
        TrainingError: if a gradient is not finite.
        Preempted: if a worker was asked to stop; the newest checkpoint has all steps so far.
        StorageError: if the storage is away or full for too long.
    """
    workers, trained = learner.workers, learner.trained()
    optimizer = build_optimizer(trained.values(), training)
    checkpoints = Checkpoints(storage, folder, workers)
    state, best = checkpoints.resume(trained, optimizer)
    # FLOPs of filling the teacher's cache were counted before the interruption.
    flops_before = state.training_flops - (workers.sum_number(learner.total_flops()) if state.steps_done else 0.0)
    last_epoch = last_epoch or training.num_epochs
    num_steps = math.ceil(len(rows) / training.batch_size) * training.num_epochs
    num_steps_here = num_steps // training.num_epochs * last_epoch
    epochs_before_final = math.floor(learner.objective.final_phase_start() * training.num_epochs)
    meter = StepMeter(workers.device)
    clipping = Clipping(learner.gradients, training.max_gradient_norm, is_deferred=workers.device.type == "cuda")
    race, race_flops = learner.race, 0.0
    if race is not None:
        race.resume(state.race)

    while state.epochs_done < last_epoch and not _is_patience_over(state, training, epochs_before_final):
        epoch, step, in_epoch = state.epochs_done + 1, state.steps_done, state.step_in_epoch
        batches = epoch_batches(rows.lengths, training.batch_size, seed, state.epochs_done)
        sums, is_stopping = LossSums(workers, state.partial_losses), False
        learner.elastic.train()
        race_flops += _check_race(learner, training, step, observer, clipping)
        for part in _between_checkpoints(batches, in_epoch, step, training.checkpoint_steps):
            for indices in meter.watch(part):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(step, num_steps, training)
                learner.objective.set_progress(step / num_steps)
                losses = take_step(learner, rows, indices, training, seed, step)
                clipping.clip_(step)
                if clipping.is_due:
                    _check_gradients(clipping, training)
                optimizer.step()
                step, in_epoch = step + 1, in_epoch + 1
                observer.on_step(step, num_steps_here, epoch, losses)
                sums.add(losses)
                if is_stopping := must_stop(workers):
                    break
                race_flops += _check_race(learner, training, step, observer, clipping)
            # Before the weights are saved or evaluated.
            _check_gradients(clipping, training)
            if is_stopping or in_epoch < len(batches):
                within = {
                    "steps_done": step,
                    "step_in_epoch": in_epoch,
                    "partial_losses": _finite_sums(sums, training, epoch),
                    "training_flops": flops_before + workers.sum_number(learner.total_flops()),
                    "evaluation_flops": state.evaluation_flops + race_flops,
                    "race": () if race is None else race.checks,
                    "step_seconds": meter.seconds,
                    "step_memory_bytes": meter.memory_bytes,
                }
                checkpoints.save(trained, optimizer, state.model_copy(update=within), is_best=False)
            if is_stopping:
                raise Preempted(folder.name, step)
        found = _evaluate(learner, training, epoch)
        record = EpochRecord(
            epoch=epoch,
            losses=_mean_losses(sums, training, epoch),
            metrics=found.scores,
            selection_score=learner.selection_score(found.scores),
            selection_loss=found.loss,
            is_final_phase=epoch > epochs_before_final and (race is None or race.choice is not None),
        )
        history = (*state.history, record)
        is_best = best_epoch(history) == epoch
        state = TrainingState(
            epochs_done=epoch,
            steps_done=step,
            best_epoch=epoch if is_best else state.best_epoch,
            history=history,
            training_flops=flops_before + workers.sum_number(learner.total_flops()),
            evaluation_flops=state.evaluation_flops + race_flops + workers.sum_number(found.flops),
            step_seconds=meter.seconds,
            step_memory_bytes=meter.memory_bytes,
            race=() if race is None else race.checks,
        )
        race_flops = 0.0
        if is_best:
            best = [parameter.detach().clone() for parameter in trained.values()]
        checkpoints.save(trained, optimizer, state, is_best)
        observer.on_epoch(record, checkpoints.newest)

    _restore_(trained, best)
    return state


def _between_checkpoints(
    batches: Sequence[Tensor], done: int, step: int, every: int | None
) -> Iterator[Sequence[Tensor]]:
    """The rest of an epoch's batches, in parts that end where a checkpoint is due.

    Args:
        batches: all of the epoch's.
        done: batches of the epoch that are done.
        step: steps of the stage that are done.
        every: steps of the stage between checkpoints; None for one part.
    """
    while done < len(batches):
        count = len(batches) if every is None else every - step % every
        yield batches[done : done + count]
        done, step = done + count, step + count


def take_step(
    learner: Learner, rows: EncodedRows, indices: Tensor, training: TrainingConfig, seed: int, step: int
) -> dict[str, Tensor]:
    """Fill the learner's gradients for a step, summed over workers; returns this worker's loss terms, on the device.

    Args:
        learner: what is trained.
        rows: the training split.
        indices: the step's rows, of all workers.
        training: the stage's config.
        seed: of dropout.
        step: counted from 0.
    """
    workers = learner.workers
    totals = Totals(rows=len(indices), tokens=int(rows.lengths[indices].sum()))
    for gradients in learner.gradients:
        gradients.zero_()
    sums: dict[str, Tensor] = {}
    parts = shard(indices, workers.rank, workers.size, training.accumulation_steps)
    for part, part_indices in enumerate(parts):
        # A seed for each step, worker and part, so that a resumed run draws the same masks.
        mixed = np.random.SeedSequence((seed, step, workers.rank, part)).generate_state(1)
        seed_dropout(int(mixed[0]))
        batch = to_device(collate(rows, part_indices, learner.pad_token_id), workers.device)
        for name, value in learner.backward(batch, totals, step).items():
            sums[name] = sums[name] + value if name in sums else value
    for gradients in learner.gradients:
        workers.sum_(gradients.buffer)
    return sums


def _check_race(learner: Learner, training: TrainingConfig, step: int, observer: Observer, clipping: Clipping) -> float:
    """Score a race's candidates if a check is due after this step; returns its FLOPs on all workers."""
    race = learner.race
    if race is None or not race.is_due(step):
        return 0.0
    _check_gradients(clipping, training)
    rows = take_rows(learner.selection, torch.from_numpy(race.rows_to_score()))
    try:
        found = learner.evaluate(rows, race.scales_to_score(step))
        observer.on_check(race.check(step, found.logits))
    except ValueError as error:
        raise TrainingError(f"after step {step} {error}; {_remedy(training)}") from error
    learner.elastic.train()
    return learner.workers.sum_number(found.flops)


def _check_gradients(clipping: Clipping, training: TrainingConfig) -> None:
    step = clipping.broken_step()
    if step is not None:
        raise TrainingError(
            f"the gradient is not finite at step {step + 1}; {_remedy(training)}, or use precision=float32"
        )


def _mean_losses(sums: LossSums, training: TrainingConfig, epoch: int) -> dict[str, float]:
    """Each term's mean over the epoch's steps that had it."""
    means = sums.means()
    for name, mean in means.items():
        _check_finite(name, mean, training, epoch)
    return means


def _finite_sums(sums: LossSums, training: TrainingConfig, epoch: int) -> tuple[dict[str, LossSum], ...]:
    """Each worker's sums so far, as a checkpoint keeps them in JSON."""
    kept = sums.kept()
    for share in kept:
        for name, (total, _) in share.items():
            _check_finite(name, total, training, epoch)
    return kept


def _check_finite(name: str, value: float, training: TrainingConfig, epoch: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(f"the loss ({name}) is not finite in epoch {epoch}; {_remedy(training)}")


def _evaluate(learner: Learner, training: TrainingConfig, epoch: int) -> Evaluation:
    try:
        return learner.evaluate()
    except ValueError as error:
        raise TrainingError(f"after epoch {epoch} {error}; {_remedy(training)}") from error


def _remedy(training: TrainingConfig) -> str:
    return f"the last good checkpoint is kept: lower the learning rate ({training.learning_rate:g})"


def _is_patience_over(state: TrainingState, training: TrainingConfig, epochs_before_final: int) -> bool:
    """Whether to stop early: the final phase has had no better epoch for as long as the recipe allows."""
    if training.early_stop_epochs is None or not state.history or not state.history[-1].is_final_phase:
        return False
    return state.epochs_done - max(state.best_epoch, epochs_before_final) >= training.early_stop_epochs


@torch.no_grad()
def _restore_(trained: Mapping[str, nn.Parameter], kept: list[Tensor]) -> None:
    for parameter, value in zip(trained.values(), kept, strict=True):
        parameter.copy_(value)


def build_optimizer(parameters: Iterable[nn.Parameter], training: TrainingConfig) -> optim.AdamW:
    """AdamW (one fused kernel, also on CPUs) that decays matrices, but no biases and norms."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim > 1]
    vectors = [parameter for parameter in trainable if parameter.ndim <= 1]
    return optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        fused=True,
    )


def learning_rate_at(step: int, num_steps: int, training: TrainingConfig) -> float:
    """Linear from zero over the warmup, then linear to zero at the end; ``step`` counts from 0."""
    num_warmup = round(training.warmup_fraction * num_steps)
    if step < num_warmup:
        return training.learning_rate * (step + 1) / num_warmup
    return training.learning_rate * max(0.0, (num_steps - step) / max(1, num_steps - num_warmup))
