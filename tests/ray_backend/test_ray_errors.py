"""An exception of the training code is no lost worker: it is not tried again, and is reported in its own words."""

from typing import ClassVar

import pytest
import ray.exceptions
import torch
from ray_kit import RAY, attempts_of, call, prepared_run, write_recipe

from minidisc_ray.data import Rows, splits
from minidisc_ray.data.builtin import Split
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.ray_backend.policies.retries import error_sentence, is_worth_a_retry
from minidisc_ray.training.notice import Preempted


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
        (RuntimeError("could not create a primitive"), True),
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
    def test_a_bug_is_reported_once(self, tmp_path, local_ray, capsys, monkeypatch, workers):
        # A label that the model has no class for, past every check: torch's own IndexError in the first batch with it.
        made = splits.builtin_rows

        def with_a_third_class(split: Split, rows: int, seed: int, but_weight: int) -> Rows:
            found = made(split, rows, seed, but_weight)
            return Rows(found.texts, found.labels + 2 * (split == "train"))

        override = f"compute.num_workers={workers}"
        recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "runs", "minidisc")
        with monkeypatch.context() as patch:
            patch.setattr(splits, "builtin_rows", with_a_third_class)
            prepared = prepared_run(tmp_path / "runs", "minidisc", override)
            code, out, errors = call(capsys, "run", recipe, "--set", override)
        assert code == 1, errors
        lines = [line for line in errors.splitlines() if line.startswith("minidisc: ")]
        assert lines[0].startswith("minidisc: trial main failed: IndexError: Target "), errors
        assert "lost a worker" not in errors + out
        assert out.count("warning: 13 selection rows choose: ") == 1, "as plan says it"
        assert [(a.name, a.status) for a in attempts_of(prepared, "stage")] == [("teacher", "failed")]

    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_teacher_at_chance_is_the_users(self, tmp_path, local_ray, capsys, workers):
        recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "runs", "maxidisc")
        settings = (f"compute.num_workers={workers}", "teacher.allow_at_chance=false", "finetune.learning_rate=1e-9")
        code, _, errors = call(capsys, "run", recipe, *(x for s in settings for x in ("--set", s)))
        assert code == 2, errors
        assert "minidisc: teacher: the teacher has learned nothing: its accuracy on the " in errors
        prepared = prepared_run(tmp_path / "runs", "maxidisc", *settings)
        assert [a.name for a in attempts_of(prepared, "stage")] == ["teacher"]
