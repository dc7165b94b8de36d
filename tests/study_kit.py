"""A small study on the built-in task, as raw data and as a file."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from tiny_teacher import TINY_TEACHER

from minidisc_ray.configs.study.base import StudyConfig
from minidisc_ray.configs.study.study import Cell, load_study, study_runs

RAW: dict[str, Any] = {
    "name": "small",
    "title": "A small study",
    "recipe": {
        "teacher": TINY_TEACHER,
        "schedule": {"kind": "minidisc", "scales": [60, 30], "num_sampled": 2},
        "pruning": {"neuron_multiple": 1},
        "finetune": {"num_epochs": 1, "learning_rate": 1e-3},
        "distil": {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None},
    },
    "tasks": {"builtin": {"data": {"train_rows": 128, "validation_rows": 64}}},
    "scales": [10, 20],
    "seeds": [0, 1],
    "methods": {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "TA": {"schedule": {"kind": "assistant", "assistant_percent": 40}},
        "MiniDisc": None,
    },
}


class _WithoutAliases(yaml.SafeDumper):
    """What stands in two places is written twice: a study's file has no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def raw_study(**changes: Any) -> dict[str, Any]:
    """The study with whole keys replaced; None leaves one out."""
    raw = deepcopy(RAW) | deepcopy(changes)
    return {key: value for key, value in raw.items() if value is not None}


def write_study(folder: Path, raw: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.dump(raw, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def study_of(folder: Path, *overrides: str, budget: str | None = None, **changes: Any) -> StudyConfig:
    return load_study(write_study(folder, raw_study(**changes)), overrides, budget)


def cells_of(study: StudyConfig, storage: str | Path | None = None) -> list[Cell]:
    return list(study_runs(study, None if storage is None else str(storage)))
