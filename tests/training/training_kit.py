"""A learner over tiny models and random rows, and an observer that remembers; importable by spawned workers."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from storage_kit import LOCAL
from tiny_models import HEADS, TASK, pad_id, pair_of, random_rows, structures, tiny_model
from torch import Tensor, nn, optim
from transformers import PreTrainedModel

from minidisc_ray.configs.objective import LTSDConfig
from minidisc_ray.configs.objective_base import ObjectiveBase
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.data import EncodedRows
from minidisc_ray.files.digests import DamageError
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.elastic import ElasticModel
from minidisc_ray.objectives import build_objective
from minidisc_ray.training.importance import measure_importance
from minidisc_ray.training.learner import Learner
from minidisc_ray.training.loop import train
from minidisc_ray.training.notice import Preempted, clear_stop_request, request_stop
from minidisc_ray.training.state import EpochRecord, TrainingState, read_checkpoint
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers

SCALES = (100, 50, 25)
ROWS, SELECTION = 26, 12


def training(**changes: Any) -> TrainingConfig:
    values = {"num_epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "early_stop_epochs": None, "dropout": 0.0}
    return TrainingConfig(**{**values, **changes})


def learner_of(
    config: TrainingConfig,
    family: str = "bert",
    scales: Sequence[int] = SCALES,
    selection_score: Callable[..., float] | None = None,
    workers: Workers | None = None,
    cache_bytes: int = 2**30,
    rows: EncodedRows | None = None,
    objective_config: ObjectiveBase | None = None,
) -> Learner:
    """A sandwich of candidates in a tiny model that learns from another tiny model."""
    workers = workers or Workers()
    student, teacher = tiny_model(family, seed=1, layers=2), tiny_model(family, seed=2, layers=2)
    use_fast_dropout(student, config.dropout)
    pair = pair_of(teacher, student)
    if any(min(structure.heads) < HEADS for structure in _two_layers(scales).values()):
        pair = replace(pair, student=replace(pair.student, has_pruned_heads=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = build_objective(objective_config or LTSDConfig(), pair)
    wanted = objective.needs().teacher
    return Learner(
        elastic=ElasticModel(student, _two_layers(scales)),
        objective=objective,
        teacher=(
            TeacherOutputs(teacher, rows or train_rows(), wanted, pad_id(teacher), workers, "float32", cache_bytes)
            if wanted
            else None
        ),
        scales_of_step=lambda step: tuple(scales),
        selection_score=selection_score or (lambda scores: scores[scales[0]]["accuracy"]),
        task=TASK,
        selection=random_rows(SELECTION, seed=5),
        pad_token_id=pad_id(student),
        workers=workers,
        precision="float32",
    )


def _two_layers(scales: Sequence[int]) -> dict[int, Any]:
    return {
        scale: replace(structure, heads=structure.heads[:2], neurons=structure.neurons[:2])
        for scale, structure in structures(scales).items()
    }


def train_rows() -> EncodedRows:
    return random_rows(ROWS, seed=4)


class Recorder:
    """Remembers steps and epochs, and the weights after each epoch; may do something of a test's own."""

    def __init__(
        self,
        learner: Learner,
        after_step: Callable[[int], None] | None = None,
        after_epoch: Callable[[int], None] | None = None,
    ) -> None:
        self.learner = learner
        self.after_step, self.after_epoch = after_step, after_epoch
        self.steps: list[dict[str, float]] = []
        self.records: list[EpochRecord] = []
        self.weights: list[list[Tensor]] = []

    def on_step(self, step: int, num_steps: int, epoch: int, losses: dict[str, Tensor]) -> None:
        self.steps.append({name: float(value) for name, value in losses.items()})
        if self.after_step is not None:
            self.after_step(step)

    def on_epoch(self, record: EpochRecord, checkpoint: Path) -> None:
        self.records.append(record)
        self.weights.append(weights_of(self.learner.elastic.shared))
        if self.after_epoch is not None:
            self.after_epoch(record.epoch)


class Stop(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


def raise_at(number):
    def raising(current):
        if current == number:
            raise Stop

    return raising


def same_weights(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def weights_of(model: PreTrainedModel) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def run(
    config: TrainingConfig, folder: Path, seed: int = 0, observe: dict[str, Any] | None = None, **options: Any
) -> tuple[TrainingState, Learner, Recorder]:
    learner = learner_of(config, **options)
    recorder = Recorder(learner, **(observe or {}))
    return train(learner, train_rows(), config, seed, LOCAL, folder, recorder), learner, recorder


def on_two_workers(work: Callable[..., None], *arguments: Any) -> None:
    """Run a function in two real processes, with its rank, their number and where they meet before its arguments.

    They are forks of a process that has imported torch and transformers already: to do so takes longer than most tests.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["minidisc_ray.training.loop", "transformers"])
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            _meet, args=(f"file://{folder}/rendezvous", work, arguments), nprocs=2, start_method="forkserver"
        )


def _meet(rank: int, address: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    try:
        work(Workers(rank=rank, size=2), *arguments)
    finally:
        torch.distributed.destroy_process_group()


def promised(state: TrainingState) -> TrainingState:
    """All of a state that has to be the same again: no clock and no memory in it."""
    return state.model_copy(update={"step_seconds": None, "step_memory_bytes": None})


def logits_of(learner: Learner) -> dict[int, Tensor]:
    return {scale: torch.from_numpy(values) for scale, values in learner.predict(random_rows(10, seed=6)).items()}


def importance_of(workers: Workers) -> list[Tensor]:
    model, rows = tiny_model("bert", seed=2), random_rows(70, seed=8)
    found = measure_importance(
        model, rows, torch.arange(len(rows)), TASK, pad_id(model), workers, lambda done, count: None
    )
    return [*found.heads, *found.neurons]


def work(workers: Workers, folder: str, config: TrainingConfig) -> None:
    """One of several real processes; each writes what came out.

    Before that the last one alone is asked to stop at step 3 of a stage, and all of them go on with it.
    """
    state, learner, _ = run(config, Path(folder) / "stage", workers=workers)
    logits = logits_of(learner)
    importance = importance_of(workers)
    asked = {"after_step": lambda step: request_stop() if (workers.rank, step) == (workers.size - 1, 3) else None}
    with pytest.raises(Preempted, match="step 3 of"):
        run(config, Path(folder) / "stopped", observe=asked, workers=workers)
    clear_stop_request()
    again, other, recorder = run(config, Path(folder) / "stopped", workers=workers)
    assert len(recorder.steps) == state.steps_done - 3
    assert promised(again) == promised(state)
    assert same_weights(weights_of(other.elastic.shared), weights_of(learner.elastic.shared))
    torch.save((state.model_dump(mode="json"), logits, importance), Path(folder) / f"out{workers.rank}.bin")


def load_checkpoint(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: optim.Optimizer | None
) -> TrainingState | None:
    """Load a checkpoint that is whole; None, and nothing is loaded, if there is none."""
    try:
        checkpoint = read_checkpoint(LOCAL, folder, parameters, optimizer)
    except DamageError:
        return None
    checkpoint.load_into(parameters, optimizer)
    return checkpoint.state
