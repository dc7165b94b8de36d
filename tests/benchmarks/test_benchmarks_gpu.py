"""The GPU check is rehearsed on the CPU, and what it imports needs none of the packages that its machine lacks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = ["objectives", "sandwich", "cache", "latency", "sharing", "mrpc"]
# A finder that lets nothing of these packages be imported, then a file that is run as a script.
BLOCKED = """
import importlib.metadata, runpy, sys
MISSING = {"ray", "datasets", "pyarrow", "ot"} | ({"tensorboardX"} if "--with-tensorboard" not in sys.argv else set())
known_version = importlib.metadata.version
def version(name):
    if name in ("ray", "datasets", "minidisc-ray"):
        raise importlib.metadata.PackageNotFoundError(name)
    return known_version(name)
importlib.metadata.version = version
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Missing())
for room in (
    "configs", "core", "data", "models.loading", "models.elastic", "models.inference_cost", "objectives", "evaluation",
    "training.loop", "training.distil", "training.finetune", "training.importance", "pipeline.in_process",
    "pipeline.structures", "preparation.prepare", "preparation.objective",
):
    importlib.import_module(f"minidisc_ray.{room}")
sys.argv = ["benchmarks/gpu_check.py", "--device", "cpu", "--small", "--only", "mrpc"]
sys.path.insert(0, "benchmarks")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def checked(command: list[str], out: Path) -> tuple[dict, str]:
    """gpu.json and what was printed."""
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "gpu.json").read_text(encoding="utf-8")), done.stdout


def leaves(value):
    if isinstance(value, dict | list):
        return [leaf for one in (value.values() if isinstance(value, dict) else value) for leaf in leaves(one)]
    return [value]


def test_the_whole_check_in_tiny_sizes(tmp_path):
    report, printed = checked(["bash", "benchmarks/gpu.sh", "--device", "cpu", "--small"], tmp_path)
    assert list(report["sections"]) == SECTIONS
    for name, section in report["sections"].items():
        assert section["status"] == "ok", section
        assert name in printed
        numbers = [leaf for leaf in leaves(section["numbers"]) if isinstance(leaf, float)]
        assert numbers
        assert all(math.isfinite(number) for number in numbers)
    assert report["sections"]["sandwich"]["numbers"]["share_of_matmul_rate"] > 0
    assert report["sections"]["sharing"]["numbers"]["throughput_ratio"] > 0
    assert len(report["sections"]["objectives"]["numbers"]) > 25


@pytest.mark.parametrize(
    "option",
    [
        pytest.param([], marks=pytest.mark.slow, id="by the loop"),
        pytest.param(["--with-tensorboard"], id="by the pipeline"),
    ],
)
def test_what_it_imports_works_where_packages_are_missing(tmp_path, option):
    report, _ = checked([sys.executable, "-c", BLOCKED, *option], tmp_path)
    found = report["sections"]["mrpc"]
    assert found["notes"] == ([] if option else ["only the training loop was run: tensorboardX is not installed"])
    of_race = {"race, sandwich", "race, student"} if option else set()
    assert set(found["numbers"]["losses"]) == {"teacher", "student"} | of_race
    for name in ("student", "student of a race")[: 2 if option else 1]:
        assert "accuracy" in found["numbers"][name]


def test_without_a_gpu_it_says_so(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(AssertionError, match="there is no GPU here"):
        checked([sys.executable, "benchmarks/gpu_check.py"], tmp_path)
