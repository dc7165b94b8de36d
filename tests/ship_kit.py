"""A real SST-2 student and its export, made once for all proofs; environments of their own for what loads them."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from minidisc_ray import api
from minidisc_ray.configs import load_recipe
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Shipped:
    """A run's student on SST-2, what it answers to every validation row, and its export with an int8 copy.

    Attributes:
        max_drop: points that the int8 copy was allowed to lose.
    """

    run: Path
    export: Path
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    answers: tuple[str, ...]
    max_drop: float

    @property
    def student(self) -> Path:
        return self.run / "student"

    def points(self, answers: Sequence[str]) -> float:
        """Accuracy times 100 of answers to the first rows."""
        names = ("negative", "positive")
        return 100 * float(np.mean([names[y] == a for y, a in zip(self.labels, answers, strict=False)]))


def make_shipped(root: Path) -> Shipped:
    """Train, export and label; skips where data or model are not there."""
    places = {name: os.environ.get(name, "") for name in ("MINIDISC_DATA", "MINIDISC_MODELS")}
    rows = Path(places["MINIDISC_DATA"], "sst2", "validation.jsonl.gz")
    if not rows.is_file() or not Path(places["MINIDISC_MODELS"], "minilm-l6").is_dir():
        pytest.skip("no sst2 and minilm-l6 below MINIDISC_DATA and MINIDISC_MODELS")
    small = (
        "schedule={kind: conventional}",
        "data.max_train_rows=1000",
        "finetune.num_epochs=1",
        "distil.num_epochs=2",
    )
    recipe = load_recipe(ROOT / "recipes" / "sst2-small.yaml", (*small, f"storage={root}"))
    prepared = prepare(recipe)
    run_in_process(prepared)
    max_drop = 2.0
    api.export(prepared.run_folder, root / "models" / "student", int8=True, max_drop=max_drop, repeats=1)
    with gzip.open(rows, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    texts = tuple(row["sentence"] for row in found)
    return Shipped(
        run=prepared.run_folder,
        export=root / "models" / "student",
        texts=texts,
        labels=tuple(row["label"] for row in found),
        answers=tuple(our_answers(prepared.run_folder / "student", texts, root)),
        max_drop=max_drop,
    )


def our_answers(student: Path, texts: Sequence[str], folder: Path) -> list[str]:
    """Our own labels for some texts."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps({"sentence": text}) + "\n" for text in texts), encoding="utf-8")
    return [str(label) for label in api.predict(student, file)["prediction"]]


def fresh_python(folder: Path, *packages: str) -> Path:
    """An environment with some packages and what they need, at the versions of constraints.txt; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", constraints, *packages]
    subprocess.run(pip, check=True)
    return python


def printed(command: Sequence[str | Path], cwd: Path, **environment: str) -> list[str]:
    """What a process that must succeed printed, line by line, without what our own environment would lend it."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean | {"HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout.splitlines()


def result_of(lines: Sequence[str]) -> object:
    """The value that a proof's script printed after ``RESULT``."""
    (line,) = [line.removeprefix("RESULT ") for line in lines if line.startswith("RESULT ")]
    return json.loads(line)
