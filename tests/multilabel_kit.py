"""A multi-label task that can be learned: texts of topic words, with a label for each topic that a text names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_teacher import TINY_TEACHER

from minidisc_ray.configs import resolve
from minidisc_ray.configs.run import RunConfig

# Words of the built-in vocabulary, so that the built-in tokenizer reads them.
TOPICS = {
    "people": ("acting", "cast"),
    "sound": ("music", "songs"),
    "words": ("script", "story"),
    "praise": ("good", "great"),
}
NAMES = tuple(sorted(TOPICS))
_FILLERS = ("the", "was", "it", "we", "saw", "on")


def topic_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of two to eight words; each topic is in a text with a chance of its own, 15 to 60 percent."""
    generator = np.random.default_rng(seed)
    chances = dict(zip(NAMES, (0.6, 0.4, 0.25, 0.15), strict=True))
    rows = []
    for _ in range(count):
        labels = [name for name in NAMES if generator.random() < chances[name]]
        words = [str(generator.choice(TOPICS[name])) for name in labels]
        words += generator.choice(_FILLERS, size=int(generator.integers(2, 5))).tolist()
        rows.append({"text": " ".join(generator.permutation(words).tolist()), "labels": labels})
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def topic_recipe(folder: Path, schedule: dict[str, Any], overrides: tuple[str, ...] = (), rows: int = 400) -> RunConfig:
    """A recipe of the task: a tiny teacher that learns it, and a student of a few epochs."""
    once = {"num_epochs": 4, "batch_size": 8, "learning_rate": 2e-3, "early_stop_epochs": None}
    raw = {
        "task": {"kind": "multilabel"},
        "data": {
            "kind": "files",
            "train": str(write_rows(folder / "train.jsonl", topic_rows(rows, seed=0))),
            "validation": str(write_rows(folder / "validation.jsonl", topic_rows(150, seed=1))),
            "max_length": 32,
        },
        "teacher": {**TINY_TEACHER, "allow_at_chance": False},
        "student": {"scale_percent": 30},
        "schedule": schedule,
        "pruning": {"neuron_multiple": 1},
        "finetune": {**once, "num_epochs": 10, "learning_rate": 5e-3},
        "distil": once,
        "storage": str(folder / "runs"),
    }
    return resolve(raw, overrides)
