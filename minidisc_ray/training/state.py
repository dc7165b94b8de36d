"""The state of a training stage, and its checkpoints as sealed folders.

Weights and optimiser moments are safetensors, everything else is JSON; a folder appears whole or not at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from minidisc_ray.configs.base import Config
from minidisc_ray.files.digests import DamageError
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.training.race_check import RaceCheck

Metrics = dict[int, dict[str, float]]
# A loss term's sum over steps, and the number of these steps.
LossSum = tuple[float, int]

_STATE, _WEIGHTS, _MOMENTS = "state.json", "model.safetensors", "optimizer.safetensors"


class EpochRecord(Config):
    """One epoch: its mean loss terms, and every candidate's metrics on the selection split.

    Early stopping maximises ``selection_score``; ``selection_loss`` is the mean loss on labels of the selection rows,
    over all candidates. In the final phase the objective's terms no longer change, and a race has chosen.
    """

    epoch: int
    losses: dict[str, float]
    metrics: Metrics
    selection_score: float
    selection_loss: float = 0.0
    is_final_phase: bool = True


def best_epoch(history: Sequence[EpochRecord]) -> int:
    """The number of the epoch with the best score; of equal ones that with the lower loss, then the first.

    Once there are epochs of the final phase, only they count: earlier ones had another objective or more candidates.
    """
    counted = [record for record in history if record.is_final_phase] or list(history)
    return max(counted, key=lambda record: (record.selection_score, -record.selection_loss, -record.epoch)).epoch


class TrainingState(Config):
    """The state of a stage after a whole epoch, or after a step within one.

    ``step_seconds`` and ``step_memory_bytes`` are measured on steps of the first worker's process; FLOPs are of all
    workers. ``partial_losses`` has, for each worker, the sums over the steps of an unfinished epoch; ``race`` has the
    checks of a race so far.
    """

    epochs_done: int = 0
    steps_done: int = 0
    step_in_epoch: int = 0
    partial_losses: tuple[dict[str, LossSum], ...] = ()
    best_epoch: int = 0
    history: tuple[EpochRecord, ...] = ()
    training_flops: float = 0.0
    evaluation_flops: float = 0.0
    step_seconds: float | None = None
    step_memory_bytes: int | None = None
    race: tuple[RaceCheck, ...] = ()

    @property
    def best(self) -> EpochRecord | None:
        """The record of the best epoch; None before the first one."""
        return self.history[self.best_epoch - 1] if self.history else None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole, and is not loaded into the model yet."""

    state: TrainingState
    weights: Mapping[str, Tensor]
    moments: Mapping[int, Mapping[str, Tensor]]

    def load_into(self, parameters: Mapping[str, nn.Parameter], optimizer: optim.Optimizer | None) -> None:
        """Copy the weights into parameters, and the moments into an optimiser if one is given."""
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.weights[name])
        if optimizer is not None:
            # Copied, since tensors that were read may be views of the file, which is lost with the storage.
            moments = {
                place: {name: tensor.clone() for name, tensor in entry.items()} for place, entry in self.moments.items()
            }
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})


def save_checkpoint(
    storage: Storage,
    folder: Path,
    parameters: Mapping[str, Tensor],
    optimizer: optim.Optimizer | None,
    state: TrainingState,
    keep_as: str | None = None,
) -> None:
    """Write a sealed checkpoint; without an optimiser it has weights to end with, and cannot be resumed from.

    Args:
        storage: has the folder.
        folder: appears when it is whole.
        parameters: the weights by name.
        optimizer: its moments are saved too.
        state: the stage's.
        keep_as: new name of the folder that this one replaces, which is removed otherwise.

    Raises:
        StorageError: if the storage does not come back in time.
    """

    def fill(temporary: Path) -> None:
        weights = {name: parameter.detach().contiguous() for name, parameter in parameters.items()}
        save_file(weights, temporary / _WEIGHTS)
        if optimizer is not None:
            save_file(_moments_of(optimizer), temporary / _MOMENTS)
        (temporary / _STATE).write_text(state.model_dump_json(), encoding="utf-8")

    storage.write_folder(folder, fill, keep_as)


def read_checkpoint(
    storage: Storage, folder: Path, parameters: Mapping[str, Tensor], optimizer: optim.Optimizer | None
) -> Checkpoint:
    """Read a checkpoint of these parameters, and of this optimiser where one is given; changes neither.

    Raises:
        DamageError: if it is damaged or of another model, saying why.
        StorageError: if the storage does not come back in time.
    """
    storage.fetch_sealed(folder)
    if (flaw := storage.check_seal(folder)) is not None:
        raise DamageError(flaw)
    try:
        text, weights, moments = storage.retry(lambda: _read(folder, optimizer is not None), folder)
        state = TrainingState.model_validate(json.loads(text))
    except StorageError:
        raise
    except (OSError, ValueError, SafetensorError, RecursionError) as error:
        raise DamageError(" ".join(str(error).split())[:160]) from error
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if shapes != {name: tensor.shape for name, tensor in weights.items()}:
        raise DamageError(f"the weights in {_WEIGHTS} are not those of this model")
    if not _is_consistent(state):
        raise DamageError(f"{_STATE} contradicts itself")
    return Checkpoint(state, weights, {} if optimizer is None else _checked_moments(optimizer, moments))


def _read(folder: Path, with_moments: bool) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    text = (folder / _STATE).read_text(encoding="utf-8")
    moments = load_file(folder / _MOMENTS) if with_moments else {}
    return text, load_file(folder / _WEIGHTS), moments


def _is_consistent(state: TrainingState) -> bool:
    epochs = state.epochs_done
    is_begun = epochs > 0 or state.step_in_epoch > 0
    is_best_known = 1 <= state.best_epoch <= epochs or state.best_epoch == epochs == 0
    has_sums = bool(state.partial_losses) == (state.step_in_epoch > 0)
    has_steps = 0 <= state.step_in_epoch <= state.steps_done - epochs
    return is_begun and is_best_known and has_sums and has_steps and epochs == len(state.history)


def _moments_of(optimizer: optim.Optimizer) -> dict[str, Tensor]:
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _checked_moments(optimizer: optim.Optimizer, moments: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Moments by the parameter's index; empty parameters need none, though older checkpoints have them.

    Raises:
        DamageError: if they do not fit the optimiser's parameters.
    """
    mismatch = DamageError(f"the moments in {_MOMENTS} are not those of this model")
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        index_text, _, name = key.partition(".")
        if not index_text.isdecimal():
            raise mismatch
        state.setdefault(int(index_text), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    wanted = {index: parameter for index, parameter in enumerate(parameters) if parameter.numel()}
    if not wanted.keys() <= state.keys() <= set(range(len(parameters))):
        raise mismatch
    for index, parameter in wanted.items():
        known = state[index]
        if set(known) != {"step", "exp_avg", "exp_avg_sq"}:
            raise mismatch
        if not known["exp_avg"].shape == known["exp_avg_sq"].shape == parameter.shape:
            raise mismatch
    return {index: state[index] for index in wanted}
