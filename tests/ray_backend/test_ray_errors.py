"""An exception of the training code is no lost worker: it is not tried again, and is reported in its own words."""

import subprocess
import sys
from typing import ClassVar

import pytest
import ray.exceptions
import torch
from ray_kit import RAY, attempts_of, call, clean_environment, prepared_run, write_recipe

from minidisc_ray.files.waiting import StorageError
from minidisc_ray.ray_backend.policies.retries import error_sentence, is_worth_a_retry
from minidisc_ray.training.notice import Preempted

_CLI = "from minidisc_ray.cli import main; main()"
# Python runs it as it starts, in the driver and in every worker: the importance of the second worker's rows, or of the
# only one's, raises what a bug does.
_BUG = """
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "minidisc_ray.training.importance":
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            whole = module.measure_importance

            def measure_importance(model, rows, indices, task, pad, workers, on_batch):
                if workers.rank == workers.size - 1:
                    [][3]
                return whole(model, rows, indices, task, pad, workers, on_batch)

            module.measure_importance = measure_importance

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


def chained(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [
        (IndexError("index out of range in self"), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("x"), False),
        (AssertionError(), False),
        (KeyError("x"), False),
        (OSError(28, "No space left on device"), True),
        (StorageError(110, "the storage did not come back"), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:544] Connection closed by peer"), True),
        (torch.distributed.DistBackendError("NCCL error"), True),
        (ray.exceptions.RayActorError(), True),
        (Preempted("sandwich", 3), True),
        (chained(ValueError("cannot be read"), OSError(5, "Input/output error")), True),
    ],
)
def test_what_may_be_gone_the_next_time(error, is_worth_it):
    assert is_worth_a_retry(error) == is_worth_it


def test_its_own_words():
    assert error_sentence(IndexError("index out\nof range")) == "IndexError: index out of range"
    assert error_sentence(AssertionError()) == "AssertionError"


class TestRuns:
    pytestmark: ClassVar = list(RAY)

    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_bug_is_reported_once(self, tmp_path, workers):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(_BUG)
        override = f"compute.num_workers={workers}"
        recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "runs", "minidisc")
        ended = subprocess.run(
            [sys.executable, "-c", _CLI, "run", str(recipe), "--set", override],
            env=clean_environment(PYTHONPATH=str(tmp_path / "site"), RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.1"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr[-2000:]
        lines = [line for line in ended.stderr.splitlines() if line.startswith("minidisc: ")]
        assert lines[0] == "minidisc: trial main failed: IndexError: list index out of range", ended.stderr[-2000:]
        assert "lost a worker" not in ended.stderr + ended.stdout
        prepared = prepared_run(tmp_path / "runs", "minidisc", override)
        assert [a.name for a in attempts_of(prepared, "stage")] == ["teacher", "importance"]

    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_teacher_at_chance_is_the_users(self, tmp_path, local_ray, capsys, workers):
        recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "runs", "maxidisc")
        settings = (f"compute.num_workers={workers}", "teacher.allow_at_chance=false", "finetune.learning_rate=1e-9")
        code, _, errors = call(capsys, "run", recipe, *(x for s in settings for x in ("--set", s)))
        assert code == 2, errors
        assert "minidisc: teacher: the teacher has learned nothing: its accuracy on the " in errors
        prepared = prepared_run(tmp_path / "runs", "maxidisc", *settings)
        assert [a.name for a in attempts_of(prepared, "stage")] == ["teacher"]
