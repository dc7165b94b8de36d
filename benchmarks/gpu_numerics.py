"""The GPU check's numerics: every objective against float32 on the CPU, and a short run of a task."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gpu_kit import Bench, Found, is_installed
from torch import Tensor

from minidisc_ray.configs.loader import resolve
from minidisc_ray.core.structure import rank_units, structure_at
from minidisc_ray.evaluation import score
from minidisc_ray.files.storage import Storage
from minidisc_ray.models.dropout import use_fast_dropout
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.surgery import cut, reorder_
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages import distil, race, teacher
from minidisc_ray.pipeline.structures import new_teacher
from minidisc_ray.preparation.objective import stage_objective
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.training.distil import NestedModels, StageInputs, distillation_learner
from minidisc_ray.training.finetune import fine_tuning_learner
from minidisc_ray.training.importance import measure_importance
from minidisc_ray.training.loop import train
from minidisc_ray.training.predict import autocast, to_device
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
SCHEDULES: dict[str, dict[str, Any]] = {
    "conventional": {"kind": "conventional"},
    "race": {"kind": "minidisc", "search": "race", "scales": {"kind": "times"}},
}
# bfloat16 has about three digits, and its errors add up over layers; gradients must have nearly the same direction.
LARGEST_DIFFERENCE, SMALLEST_COSINE = 0.05, 0.99
SCALE = 10


def objectives(bench: Bench) -> Found:
    """Compare loss and gradients of every objective in bfloat16 with float32 on the CPU, on tiny models."""
    from objective_kit import OBJECTIVES, pairing

    found = Found()
    for name, config in OBJECTIVES.items():
        if name.endswith("-emd") and not is_installed("ot"):
            found.notes.append(f"{name} left out: POT is not installed")
            continue
        pair = pairing(config)
        exact = _loss_and_gradient(pair, torch.device("cpu"), "float32")
        rounded = _loss_and_gradient(pair, bench.device, "bfloat16")
        difference = abs(rounded[0] - exact[0]) / abs(exact[0])
        cosine = float(torch.nn.functional.cosine_similarity(rounded[1], exact[1], dim=0))
        found.numbers[name] = {"loss": exact[0], "difference": difference, "cosine": cosine}
        if not (difference <= LARGEST_DIFFERENCE and cosine > SMALLEST_COSINE):
            found.flaws.append(f"{name}: loss differs by {difference:.2%}, cosine of gradients {cosine:.4f}")
    worst = max(one["difference"] for one in found.numbers.values())
    lowest = min(one["cosine"] for one in found.numbers.values())
    found.aim("largest difference of a loss", worst, f"<= {LARGEST_DIFFERENCE}", lambda v: v <= LARGEST_DIFFERENCE)
    found.aim("smallest cosine of gradients", lowest, f"> {SMALLEST_COSINE}", lambda value: value > SMALLEST_COSINE)
    return found


def _loss_and_gradient(pair: Any, device: torch.device, precision: Any) -> tuple[float, Tensor]:
    """Loss and gradients at the start of training, with those of the final phase added if the objective has one."""
    from tiny_models import batch_of, random_rows, totals_of

    given = batch_of(random_rows(8), pair.student)
    batch, totals, needs = to_device(given, device), totals_of(given), pair.objective.needs()
    for module in (pair.student, pair.teacher, pair.objective):
        module.to(device)
        module.zero_grad()
    loss = torch.zeros((), device=device)
    for fraction in (0.0, 1.0) if pair.objective.final_phase_start() > 0 else (0.0,):
        pair.objective.set_progress(fraction)
        with autocast(precision, device):
            with torch.no_grad():
                target = run_model(pair.teacher, batch, needs.teacher) if needs.teacher else None
            trace = run_model(pair.student, batch, needs.student)
        loss = loss + torch.stack(list(pair.objective(trace, target, batch, totals).values())).sum()
    loss.backward()
    gradients = [part.grad.flatten() for part in pair.student.parameters() if part.grad is not None]
    return float(loss.detach()), torch.cat(gradients).double().cpu()


def mrpc(bench: Bench) -> Found:
    """Fine-tune a teacher on a few rows and distil it to 10%, directly and after a race; report losses and metrics."""
    found, started_at = Found(), time.perf_counter()
    with tempfile.TemporaryDirectory() as storage:
        prepared = prepare(_recipe(bench, storage, "conventional"))
        if is_installed("tensorboardX"):
            losses, metrics = _run_whole(prepared, bench)
            racing = prepare(_recipe(bench, storage, "race"))
            race_losses, race_metrics = _run_whole(racing, bench)
            losses |= {f"race, {name}": value for name, value in race_losses.items()}
            metrics["student of a race"] = race_metrics["student"]
        else:
            found.notes.append("only the training loop was run: tensorboardX is not installed")
            losses, metrics = _run_by_loop(prepared, bench, Path(storage))
    found.numbers = {"task": prepared.task.name, "rows": len(prepared.train), "losses": losses, **metrics}
    found.numbers["seconds"] = time.perf_counter() - started_at
    if not all(torch.isfinite(torch.tensor(list(epoch.values()))).all() for one in losses.values() for epoch in one):
        found.flaws.append("a loss is not finite")
    return found


def _recipe(bench: Bench, storage: str, schedule: str) -> Any:
    sizes = bench.sizes
    stage = {"num_epochs": sizes.mrpc_epochs, "batch_size": 32, "learning_rate": 1e-4, "early_stop_epochs": None}
    raw: dict[str, Any] = {
        "task": "mrpc",
        "data": {"kind": "files", "folder": bench.mrpc, "max_train_rows": sizes.mrpc_rows},
        "teacher": {"kind": "pretrained", "path": bench.model, "allow_at_chance": True},
    }
    if bench.mrpc is None or bench.model is None:
        rows = {"train_rows": sizes.mrpc_rows, "validation_rows": 64, "test_rows": 32}
        raw = {"data": {"kind": "builtin", **rows}, "teacher": {"kind": "builtin", "allow_at_chance": True}}
    return resolve(
        {
            **raw,
            "student": {"scale_percent": SCALE},
            "schedule": SCHEDULES[schedule],
            "finetune": stage,
            "distil": {**stage, "learning_rate": 3e-4},
            "compute": {"gpus_per_worker": float(bench.is_gpu), "cpus_per_worker": torch.get_num_threads()},
            "storage": storage,
        }
    )


def _run_whole(prepared: PreparedRun, bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the pipeline in this process, and record the losses of each training."""
    losses: dict[str, Any] = {}

    def record(learner: Any, rows: Any, training: Any, seed: int, storage: Storage, folder: Path, *others: Any) -> Any:
        state = train(learner, rows, training, seed, storage, folder, *others)
        losses[folder.name] = [dict(epoch.losses) for epoch in state.history]
        return state

    with ExitStack() as patches:
        for stage in (teacher, race, distil):
            patches.enter_context(mock.patch.object(stage, "train", record))
        result = run_in_process(prepared, str(bench.device))
    named = {"teacher": result.teacher, "student": result.student}
    return losses, {name: dict(model.validation_metrics) for name, model in named.items()}


def _run_by_loop(prepared: PreparedRun, bench: Bench, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same stages by the training loop, without the pipeline."""
    config, task, pad, workers = prepared.config, prepared.task, prepared.pad_token_id, Workers(device=bench.device)
    model = new_teacher(prepared).to(bench.device)
    learner = fine_tuning_learner(model, prepared.selection, task, config.finetune, "auto", pad, workers)
    tuned = train(learner, prepared.train, config.finetune, 0, Storage("/"), folder / "teacher", _Quiet())
    positions = torch.arange(len(prepared.train))
    found = measure_importance(model, prepared.train, positions, task, pad, workers, lambda *_: None)
    heads, neurons = (rank_units(scores, "global") for scores in (found.heads, found.neurons))
    reorder_(model, heads, neurons)
    structure = structure_at(heads, neurons, SCALE)
    student = cut(model, structure)
    use_fast_dropout(student)
    objective = stage_objective(config, prepared.shape, task, prepared.shape.full(), [structure], was_distilled=False)
    models = NestedModels(
        student, {SCALE: structure}, lambda _: (SCALE,), lambda scores: task.selection_score(scores[SCALE])
    )
    inputs = StageInputs(prepared.train, prepared.selection, task, pad, "auto", 2**30, workers)
    learner = distillation_learner(models, model, objective, config.distil, inputs)
    distilled = train(learner, prepared.train, config.distil, 0, Storage("/"), folder / "student", _Quiet())
    ((_, rows),) = list(prepared.validation.items())[:1]
    metrics = {
        name: score(task, score_model(one, rows, pad, workers, "auto"), rows.labels.numpy())
        for name, one in (("teacher", model), ("student", student))
    }
    histories = {"teacher": tuned.history, "student": distilled.history}
    return {name: [dict(epoch.losses) for epoch in history] for name, history in histories.items()}, metrics


class _Quiet:
    """An observer that does nothing."""

    def on_step(self, *_: object) -> None:
        """After an optimiser step."""

    def on_check(self, *_: object) -> None:
        """After an evaluation of a race's candidates."""

    def on_epoch(self, *_: object) -> None:
        """After an evaluation."""
