"""Small storages of real results, and observations made by hand."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from reports_builder import model, run_result
from storage_kit import LOCAL

from minidisc_ray.autodistiller.tables.observation import Observation
from minidisc_ray.configs import resolve
from minidisc_ray.configs.identity import digest, run_identity
from minidisc_ray.run_files.result import write_result

TEACHER = {"kind": "pretrained", "path": "/models/minilm-l6"}
DISTILLER = {"kind": "distiller", "intermediate": {"kind": "mi_alpha", "alpha": 0.5}, "mapping": "last"}


def write_run(storage: Path, metric: float, overrides: tuple[str, ...] = (), **raw: Any) -> Path:
    """The files of a finished run: the recipe, its identity, and a result that fits them."""
    recipe = {
        "task": "mrpc",
        "data": {"kind": "files", "folder": "/data/mrpc"},
        "teacher": TEACHER,
        "schedule": {"kind": "conventional"},
        "objective": DISTILLER,
        "distil": {"num_epochs": 3, "learning_rate": 2e-4, "batch_size": 16},
        **raw,
    }
    config = resolve(recipe, overrides)
    identity = run_identity(config, {"data": "d1", "teacher": "t1", "tokenizer": "k1"})
    result = run_result(
        config.schedule.kind,
        config.seed,
        metric,
        objective=config.objective.label,
        scale=config.student_percent,
        teacher=model(100, 0.9),
        method_digest=digest({key: value for key, value in identity.items() if key != "seed"}),
        label_names=("not_equivalent", "equivalent"),
        name=f"mrpc-{digest(identity)}",
    )
    folder = storage / result.name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    (folder / "identity.json").write_text(json.dumps(identity), encoding="utf-8")
    write_result(LOCAL, folder, result)
    return folder


def observation(key: str, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "key": key,
        "source": "run",
        "run": key,
        "task": "mrpc",
        "student": "minilm-l6 10%",
        "teacher": "minilm-l6",
        "teacher_score": 0.9,
        "score": 0.8,
        "ratio_to_teacher": 0.8 / 0.9,
        "metric": "f1",
        "comparable": "c1",
    }
    return Observation(**{**values, **changes})


def public_folder() -> Path:
    place = os.environ.get("MINIDISC_DATA")
    if not place or not (Path(place) / "autodistiller").is_dir():
        pytest.skip("MINIDISC_DATA has no folder autodistiller")
    return Path(place) / "autodistiller"
