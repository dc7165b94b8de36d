"""Tiny whole runs on the built-in data."""

from pathlib import Path
from typing import Any

from minidisc_ray.accounting.ledger import Attempt, Ledger
from minidisc_ray.configs import resolve
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.prepare import Prepared, prepare
from minidisc_ray.pipeline.result import RunResult

GRID = {"kind": "list", "values": [60, 30]}
SCHEDULES: dict[str, dict[str, Any]] = {
    "conventional": {"kind": "conventional"},
    "assistant": {"kind": "assistant", "assistant_percent": 40},
    "minidisc": {"kind": "minidisc", "scales": GRID, "num_sampled": 2},
    "maxidisc": {"kind": "maxidisc", "scales": GRID},
}


def prepared_run(storage: Path, kind: str, overrides: tuple[str, ...] = ()) -> Prepared:
    once = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
    raw = {
        "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
        "teacher": {"kind": "builtin", "num_layers": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64},
        "schedule": SCHEDULES[kind],
        "pruning": {"neuron_multiple": 1},
        "finetune": {**once, "num_epochs": 2},
        "distil": once,
        "storage": str(storage),
    }
    return prepare(resolve(raw, overrides))


def run(storage: Path, kind: str, overrides: tuple[str, ...] = ()) -> RunResult:
    return run_in_process(prepared_run(storage, kind, overrides))


def stages_of(prepared: Prepared) -> list[Attempt]:
    """Attempts at stages that this run's ledger holds."""
    return [a for a in Ledger(prepared.run_folder / "ledger.jsonl").attempts() if a.kind == "stage"]


def numbers(result: RunResult) -> dict[str, Any]:
    """All that has to be the same again: no clock in it."""
    dumped = result.model_dump(mode="json", exclude={"started_at", "finished_at", "cost", "trials"})
    dumped["trials"] = [
        trial.model_dump(mode="json", exclude={"device_hours", "training_flops"}) for trial in result.trials
    ]
    return dumped
