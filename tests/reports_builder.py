"""Whole results as a run would write them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage_kit import LOCAL
from study_kit import cells_of

from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.study import Cell
from minidisc_ray.core.tradeoff import LAMBDA_SCAN, best_scale, lambda_tradeoff, negative_derivative
from minidisc_ray.reports.run.page import write_report
from minidisc_ray.run_files.result import CandidateRecord, ModelRecord, RunResult, SplitRecord, TrialRecord
from minidisc_ray.run_files.result_costs import CostRecord, StageCost
from minidisc_ray.study.cells import Outcome

METRICS = {55: 0.872, 40: 0.865, 25: 0.79}


def model(scale: int, metric: float, metric_name: str = "f1", **changes: Any) -> ModelRecord:
    heads, neurons = max(1, 12 * scale // 100), 3072 * scale // 100
    values: dict[str, Any] = {
        "scale_percent": scale,
        "encoder_parameters": 85_054_464 * scale // 100,
        "total_parameters": 24_428_546 + 85_054_464 * scale // 100,
        "macs_at_128": 11_174_000_000 * scale // 100,
        "kept_share": {"heads": heads / 12, "neurons": neurons / 3072},
        "heads": (heads,) * 4,
        "neurons": (neurons,) * 4,
        "selection_metrics": {metric_name: metric + 0.004, "accuracy": metric - 0.05},
        "validation_metrics": {metric_name: metric, "accuracy": metric - 0.06},
    }
    return ModelRecord.model_validate(values | changes)


def stage(name: str, hours: float, trial: str = "main", **changes: Any) -> StageCost:
    values: dict[str, Any] = {
        "stage": name,
        "trial": trial,
        "seconds": hours * 3600 / 4,
        "devices": 4,
        "device_type": "cpu-core",
        "device_hours": hours,
        "training_flops": hours * 1e15,
    }
    return StageCost.model_validate(values | changes)


def run_result(
    method: str = "conventional",
    seed: int = 0,
    metric: float = 0.84,
    hours: float = 2.0,
    flops: float | None = None,
    assistant: int = 40,
    scale: int = 10,
    task: str = "mrpc",
    objective: str = "LTSD",
    **changes: Any,
) -> RunResult:
    """One run; ``changes`` replace whole fields."""
    candidates = _candidates() if method in ("minidisc", "maxidisc") else ()
    metrics = {candidate.scale_percent: candidate.metric for candidate in candidates}
    of_objective = "" if objective == "LTSD" else f"-{objective}"
    values: dict[str, Any] = {
        "name": f"{task}-{method}-{assistant}-{scale}pc-seed{seed}{of_objective}",
        "method": method,
        "objective": objective,
        "task": task,
        "primary_metric": "f1",
        "seed": seed,
        "protocol": "held_out",
        "selection_split": "a tenth of train, held out",
        "data_digest": "0123456789abcdef",
        "setting_digest": f"setting-{task}-{scale}{of_objective}",
        "method_digest": f"{method}-{task}-{scale}{of_objective}" + (f"-{assistant}" if method == "assistant" else ""),
        "majority_metrics": {"f1": 0.812, "accuracy": 0.684},
        "majority_of": "scored rows",
        "teacher": model(100, 0.9 + seed / 100),
        "teacher_source": "fine-tuned here",
        "teacher_may_have_seen_selection": False,
        "assistants": () if method == "conventional" else (model(assistant, 0.87),),
        "candidates": candidates,
        "choice_by_lambda": {f"{lam:g}": best_scale(lambda_tradeoff(metrics, lam)) for lam in LAMBDA_SCAN if metrics},
        "selection_rule": "λ-tradeoff with λ = 0.2" if method == "minidisc" else None,
        "student": model(scale, metric),
        "student_step_seconds": 0.05,
        "student_step_memory_bytes": 100_000_000,
        "trials": _trials() if method == "maxidisc" else (),
        "cost": CostRecord(
            stages=(
                stage("finetune", 1.5, in_ratio=False),
                stage("importance", hours / 4, reused=True),
                stage("distil", 3 * hours / 4, num_epochs=5),
            ),
            device_hours=hours,
            training_flops=hours * 1e15 if flops is None else flops,
            evaluation_flops=hours * 1e14,
            teacher_device_hours=1.5,
            teacher_training_flops=1.5e15,
            startup_device_hours=0.0123,
            device_unit="core-hours",
        ),
        "splits": {
            "train": SplitRecord(rows=3301, truncated_rows=17),
            "validation": SplitRecord(rows=408, truncated_rows=3),
        },
        "closed_form_training_flops": 2.1e15,
        "versions": {"minidisc-ray": "0.1.0", "torch": "2.9.0"},
        "threads": 4,
        "devices": "4 CPU cores",
        "started_at": "2025-11-03T10:00:00+00:00",
        "finished_at": "2025-11-03T10:40:00+00:00",
    }
    return RunResult.model_validate(values | changes)


def several_seeds(**changes: Any) -> list[RunResult]:
    """Four methods; the conventional one has three seeds, the others two of them."""
    runs = [
        run_result("conventional", seed, metric=0.80 + seed / 100, hours=2.0 + seed, **changes) for seed in (0, 1, 2)
    ]
    for seed in (0, 1):
        runs.append(run_result("assistant", seed, metric=0.82 + seed / 100, hours=5.0, **changes))
        runs.append(run_result("minidisc", seed, 0.84 + seed / 100, 8.0, 9e15, assistant=40 - 5 * seed, **changes))
        runs.append(run_result("maxidisc", seed, metric=0.845, hours=123.456, **changes))
    return runs


def several_objectives() -> list[RunResult]:
    """Two methods with three objectives; steps of HS take 1.5 times as long as those of LTSD and 3 times the memory."""
    runs = []
    for seed in (0, 1):
        for objective, factor, memory in (("KD", 0.5, 0.25), ("LTSD", 1.0, 1.0), ("HS (last)", 1.5, 3.0)):
            step = {
                "student_step_seconds": 0.05 * factor * (1 + seed),
                "student_step_memory_bytes": round(100_000_000 * memory),
            }
            for method, hours in (("conventional", 2.0), ("minidisc", 8.0)):
                runs.append(run_result(method, seed, hours=hours * factor, objective=objective, **step))
    return runs


def _candidates() -> tuple[CandidateRecord, ...]:
    scores, slopes = lambda_tradeoff(METRICS), negative_derivative(METRICS, 0.9)
    return tuple(
        CandidateRecord(
            scale_percent=scale,
            metric=metric,
            lambda_tradeoff=scores[scale],
            negative_derivative=slopes[scale],
            trained=scale != 40,
            heads=(1,) * 4,
            neurons=(300,) * 4,
            kept_share={"heads": scale / 100, "neurons": scale / 100},
        )
        for scale, metric in METRICS.items()
    )


def _trials() -> tuple[TrialRecord, ...]:
    return (
        TrialRecord(
            name="a55",
            assistant_percent=55,
            status="finished",
            assistant_selection=0.872,
            student_selection=0.83,
            student_validation=0.82,
            device_hours=4.0,
        ),
        TrialRecord(
            name="a40",
            assistant_percent=40,
            status="finished",
            assistant_selection=0.865,
            student_selection=0.85,
            student_validation=0.84,
            device_hours=3.5,
        ),
        TrialRecord(name="a25", assistant_percent=25, status="failed", reason="out of memory", device_hours=0.2),
    )


TASKS = {"mrpc": {"data": {"kind": "files", "folder": "x"}}, "mnli": {"data": {"kind": "files", "folder": "y"}}}
PAPER = {
    "teacher": {"num_layers": 12, "hidden_size": 768},
    "rows": {
        "Teacher": {100: {"mrpc": 91.5, "mnli_m": 84.9, "mnli_mm": 84.9, "average": 87.1, "flops_g": 10.9}},
        "LTSD": {10: {"mrpc": 87.8, "mnli_m": 77.6, "mnli_mm": 77.5, "average": 81.0, "cost": 1}},
    },
}
# 12 layers of 768, 12 heads of 64 and 3,072 neurons in each: BERT-base's own count.
BASE = {"encoder_parameters": 85_054_464, "heads": (12,) * 12, "neurons": (3072,) * 12}
METHODS = {"LTSD": "conventional", "TA": "assistant", "MiniDisc": "minidisc"}


def cost(hours: float, flops: float, unit: str = "core-hours") -> CostRecord:
    return CostRecord(
        stages=(stage("distil", hours),),
        device_hours=hours,
        training_flops=flops,
        teacher_device_hours=1.0,
        teacher_training_flops=1e15,
        startup_device_hours=0.0,
        device_unit=unit,
    )


def scores(task: str, score: float) -> dict[str, float]:
    mnli = {"accuracy": score, "accuracy@validation_mismatched": score - 0.01}
    return mnli if task == "mnli" else {"f1": score, "accuracy": 0.5}


def result_of(cell: Cell, score: float, hours: float, **changes: Any) -> RunResult:
    scale, task = cell.scale_percent or 50, cell.task
    values: dict[str, Any] = {
        "student": model(scale, 0.0, validation_metrics=scores(task, score)),
        "teacher": model(100, 0.0, validation_metrics=scores(task, 0.9), **BASE),
        "majority_metrics": scores(task, 0.4),
        "primary_metric": "accuracy" if task == "mnli" else "f1",
        "cost": cost(hours, hours**2 * 1e15),
        "name": f"{task}-{cell.method}-{scale}-seed{cell.seed}",
    }
    return run_result(METHODS.get(cell.method, "conventional"), cell.seed, scale=scale, task=task, **values | changes)


def outcomes_of(
    study: StudyConfig, storage: Path, hours: dict[str, float] | None = None, **changes: Any
) -> list[Outcome]:
    """Every cell finished; seed 1 scores 0.02 more than seed 0, methods 0.01 more than the one before."""
    found = []
    for cell in cells_of(study, storage):
        order = list(study.methods).index(cell.method)
        score = 0.8 + 0.01 * order + 0.02 * cell.seed - (0.1 if cell.task == "mnli" else 0)
        result = result_of(cell, score, (hours or {}).get(cell.method, 2.0) * (1 + cell.seed), **changes)
        found.append(Outcome(cell, result.name, result, None))
    return found


def report_page(result: RunResult, others: Sequence[RunResult] = (), config_text: str = "") -> str:
    """The page as it is written."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yaml").write_text(config_text, encoding="utf-8")
        return write_report(LOCAL, Path(folder), result, others).read_text(encoding="utf-8")
