"""Tiny whole runs on the built-in data."""

from pathlib import Path
from typing import Any

import pytest
import torch
from storage_kit import LOCAL
from tiny_models import tiny_config
from tiny_teacher import TINY_TEACHER
from transformers import BertForSequenceClassification, PreTrainedModel

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs import resolve
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows, builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.evaluation import score
from minidisc_ray.models.checkpoint import save_model
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

GRID = {"kind": "list", "values": [60, 30]}
SCHEDULES: dict[str, dict[str, Any]] = {
    "conventional": {"kind": "conventional"},
    "assistant": {"kind": "assistant", "assistant_percent": 40},
    "minidisc": {"kind": "minidisc", "scales": GRID, "num_sampled": 2},
    "maxidisc": {"kind": "maxidisc", "scales": GRID},
}


def prepared_run(storage: Path, kind: str, overrides: tuple[str, ...] = ()) -> PreparedRun:
    once = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
    raw = {
        "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
        "teacher": TINY_TEACHER,
        "schedule": SCHEDULES[kind],
        "pruning": {"neuron_multiple": 1},
        "finetune": {**once, "num_epochs": 2},
        "distil": once,
        "storage": str(storage),
    }
    return prepare(resolve(raw, overrides))


def random_teacher(folder: Path) -> tuple[str, ...]:
    """Overrides that name a saved classifier of large random weights: unlike a tiny trained one it never answers
    the same to every row, and it is used as it is."""
    config = tiny_config("bert", layers=2, task=Task("tiny", ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",)))
    config.vocab_size = len(builtin_vocabulary())
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        model.bert.embeddings.word_embeddings.weight.mul_(3)
        tokens = torch.randint(5, config.vocab_size, (200, 12))
        model.classifier.bias.sub_(model.eval()(tokens).logits.mean(0))
    save_model(LOCAL, model, builtin_tokenizer(), folder)
    return (f"teacher={{kind: pretrained, path: {folder}, allow_at_chance: true}}",)


def run(storage: Path, kind: str, overrides: tuple[str, ...] = ()) -> RunResult:
    return run_in_process(prepared_run(storage, kind, overrides))


def stages_of(prepared: PreparedRun) -> list[Attempt]:
    """Attempts at stages that this run's ledger holds."""
    return [a for a in Ledger(LOCAL, prepared.run_folder / "ledger.jsonl").attempts() if a.kind == "stage"]


def numbers(result: RunResult) -> dict[str, Any]:
    """All that has to be the same again: no clock in it."""
    measured = {"student_step_seconds", "student_step_memory_bytes"}
    clocks = {"started_at", "finished_at", "attempts", "cost"}
    dumped = result.model_dump(mode="json", exclude={*clocks, "trials", *measured})
    dumped["trials"] = [
        trial.model_dump(mode="json", exclude={"device_hours", "training_flops"}) for trial in result.trials
    ]
    return dumped


def metrics_of(prepared: PreparedRun, model: PreTrainedModel, rows: EncodedRows) -> dict[str, float]:
    logits = score_model(model, rows, prepared.pad_token_id, Workers(), "float32")
    return score(prepared.task, logits, rows.labels.numpy())


def attempts_in(folder: Path) -> list[Attempt]:
    return Ledger(LOCAL, folder / "ledger.jsonl").attempts()


class Interrupted(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


def interrupt(monkeypatch: pytest.MonkeyPatch, stage: str, epoch: int) -> None:
    """The process ends after an epoch of a stage: its checkpoint is written, nothing after it is."""
    original = StageObserver.on_epoch

    def on_epoch(self: StageObserver, record: Any, checkpoint: Any) -> None:
        original(self, record, checkpoint)
        if (self.stage, record.epoch) == (stage, epoch):
            self.close()
            raise Interrupted

    monkeypatch.setattr(StageObserver, "on_epoch", on_epoch)
