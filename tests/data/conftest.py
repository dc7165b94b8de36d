import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from minidisc_ray.configs.loader import resolve

ROWS = [
    {"text": f'row {i}, with "quotes" and a comma: NA {i * i}', "label": ("no", "yes")[i % 3 == 0], "idx": i}
    for i in range(60)
]
CUSTOM = {"kind": "classification", "label_names": ["no", "yes"]}


def json_lines(path: Path, rows) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def rows():
    return [dict(row) for row in ROWS]


@pytest.fixture
def write():
    return json_lines


@pytest.fixture
def recipe(tmp_path, write):
    """A config of local files; ``train`` and ``validation`` may be rows, all else goes over the defaults."""

    def make(train=None, validation=None, task=None, data=None, **rest):
        files = {
            "train": str(write(tmp_path / "train.jsonl", ROWS if train is None else train)),
            "validation": str(write(tmp_path / "validation.jsonl", ROWS[:20] if validation is None else validation)),
        }
        raw = {"task": task or CUSTOM, "data": {"kind": "files", **files, **(data or {})}, **rest}
        return resolve(raw)

    return make


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("MINIDISC_DATA")
    if not folder:
        pytest.skip("MINIDISC_DATA is not set: the real data sets are not read")
    return Path(folder)


@pytest.fixture
def random_state():
    return np.random.default_rng(0)
