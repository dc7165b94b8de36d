"""Checkpoints of a training stage: the newest, to resume from, and the best, to end with.

Weights and optimiser moments are safetensors, everything else is JSON; a folder appears whole or not at all.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from minidisc_ray.configs.base import Config

Metrics = dict[int, dict[str, float]]


class EpochRecord(Config):
    """One epoch: mean loss terms, every candidate's selection metrics, and their goodness."""

    epoch: int
    losses: dict[str, float]
    metrics: Metrics
    goodness: float


class TrainingState(Config):
    """Where a stage stands after a whole epoch.

    ``step_seconds`` and ``step_memory_bytes`` are of the steps that the first worker's process took itself.
    """

    epochs_done: int = 0
    steps_done: int = 0
    best_epoch: int = 0
    history: tuple[EpochRecord, ...] = ()
    training_flops: float = 0.0
    step_seconds: float | None = None
    step_memory_bytes: int | None = None

    @property
    def best(self) -> EpochRecord | None:
        """The record of the best epoch; None before the first one."""
        return self.history[self.best_epoch - 1] if self.history else None


def save_checkpoint(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: optim.Optimizer | None, state: TrainingState
) -> None:
    """Write a checkpoint; without an optimiser it is one to end with."""
    temporary = folder.with_name(f".{folder.name}.tmp{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(_tensors_of(parameters), temporary / "model.safetensors")
    if optimizer is not None:
        save_file(_moments_of(optimizer), temporary / "optimizer.safetensors")
    (temporary / "state.json").write_text(state.model_dump_json(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def load_checkpoint(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: optim.Optimizer | None
) -> TrainingState | None:
    """Load a checkpoint into parameters and an optimiser; None if there is none that is whole."""
    try:
        state = TrainingState.model_validate(json.loads((folder / "state.json").read_text(encoding="utf-8")))
        tensors = load_file(folder / "model.safetensors")
        moments = load_file(folder / "optimizer.safetensors") if optimizer is not None else {}
    except (OSError, ValueError, ValidationError, SafetensorError):
        return None
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        return None
    if not _is_whole(state) or (optimizer is not None and not _load_moments(optimizer, moments)):
        return None
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
    return state


def _is_whole(state: TrainingState) -> bool:
    return 1 <= state.best_epoch <= state.epochs_done == len(state.history) <= state.steps_done


def _tensors_of(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().contiguous() for name, parameter in parameters.items()}


def _moments_of(optimizer: optim.Optimizer) -> dict[str, Tensor]:
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def _load_moments(optimizer: optim.Optimizer, moments: Mapping[str, Tensor]) -> bool:
    """Load moments; False, and nothing loaded, if they are not those of these parameters."""
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        index, _, name = key.partition(".")
        if not index.isdecimal():
            return False
        state.setdefault(int(index), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if sorted(state) != list(range(len(parameters))):
        return False
    for place, parameter in enumerate(parameters):
        known = state[place]
        if set(known) != {"step", "exp_avg", "exp_avg_sq"} or known["exp_avg"].shape != parameter.shape:
            return False
        if known["exp_avg_sq"].shape != parameter.shape:
            return False
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    return True
