"""Odd models, small memory, two processes: one sentence each, and nothing hangs or fills the memory."""

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pipeline_kit import numbers, prepared_run
from safetensors.torch import load_file, save_file
from storage_kit import LOCAL, mount, unmount
from tiny_models import tiny_model

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.configs.redact import MASK, is_redacted_form
from minidisc_ray.core.task import Task
from minidisc_ray.data import Rows, builtin_tokenizer, encode
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.driver.lease import leased
from minidisc_ray.evaluation import score
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.loading import load_teacher, load_tokenizer
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.clean import clean

TASK = Task("tiny", ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",))
REGRESSION = Task("points", ("text",), "points", (), ("spearman",))


@pytest.fixture
def folder(tmp_path):
    save_model(LOCAL, tiny_model("bert"), builtin_tokenizer(), tmp_path / "model")
    (tmp_path / "model" / "seal.json").unlink()
    return tmp_path / "model"


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 5_000}, "num_hidden_layers is 5000, and a model has 1 to 1,000"),
        ({"num_attention_heads": -4}, "num_attention_heads is -4, and a model has 1 to 1,000"),
        ({"num_labels": 10**9, "id2label": None}, "num_labels is 1000000000, and a model has 1 to 100,000"),
        ({"hidden_size": "large"}, "hidden_size is large, and a model has"),
        ({"vocab_size": True}, "vocab_size is True, and a model has"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan, and has to be a number above 0"),
        ({"problem_type": "regression"}, "problem_type is regression, and there are 3 labels; a regression has one"),
    ],
)
def test_sizes_that_no_model_has_are_refused_at_once(folder, change, words):
    change_config(folder, **change)
    started = time.monotonic()
    for load in (lambda: load_model(folder), lambda: load_teacher(PretrainedTeacherConfig(path=str(folder)), TASK, 0)):
        with pytest.raises(UserError, match=words) as caught:
            load()
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


def test_a_model_whose_outputs_have_no_names_is_read_all_the_same(folder):
    change_config(folder, return_dict=False)
    model = load_model(folder)
    row = torch.tensor([[2, 5, 3]])
    assert model(row).logits.shape == (1, 3)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/tmp/outside.safetensors", "pytorch_model.bin"])
def test_weights_are_read_from_the_folder_alone(folder, name):
    weights = load_file(folder / "model.safetensors")
    save_file(weights, folder.parent / "outside.safetensors", {"format": "pt"})
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="weights are read as safetensors alone"):
        load_model(folder)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="weights are read from safetensors files beside it only"):
        load_model(folder)


def test_a_student_with_weights_that_are_no_numbers_answers_nothing(folder):
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"classifier\.bias has values that are not finite"):
        load_model(folder)


def test_answers_that_differ_by_rounding_rank_nothing():
    labels, noise = np.arange(200.0), np.random.default_rng(0).integers(0, 2, 200)
    nearly = np.where(noise, np.nextafter(np.float32(2.5), np.float32(3)), np.float32(2.5))
    assert score(REGRESSION, nearly[:, None], labels)["spearman"] == 0.0
    assert score(REGRESSION, (2.5 + 1e-3 * labels)[:, None], labels)["spearman"] == pytest.approx(1.0)


def test_a_pattern_in_an_identity_is_matched_in_a_moment():
    started = time.monotonic()
    assert not is_redacted_form((MASK + "a") * 3_000, "a" * 6_000 + "b")
    assert is_redacted_form(f"x{MASK}y{MASK}z", "x1y22z")
    assert not is_redacted_form(f"x{MASK}y{MASK}z", "x1z")
    assert not is_redacted_form(f"ab{MASK}ba", "aba")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("pattern", [{"String": "e"}, {"Regex": ".?"}])
def test_a_tokenizer_that_doubles_texts_again_and_again_is_refused(folder, pattern):
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "Replace", "pattern": pattern, "content": "ee"}] * 40,
    }
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"its normalizer makes a text up to 1\.1e\+12 times as long, and 16 times"):
        load_tokenizer(PretrainedTeacherConfig(path=str(folder)))


def test_a_tokenizer_that_prepends_megabytes_is_refused(folder):
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "a" * 100_000}] * 40}
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="times as long, and 16 times are allowed"):
        load_tokenizer(PretrainedTeacherConfig(path=str(folder)))


def test_replacements_of_real_tokenizers_pass(folder):
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    pairs = [("``", '"'), ("''", '"'), (" ", "\u2581"), ("\u2026", "...")]
    replaced = [{"type": "Replace", "pattern": {"String": old}, "content": new} for old, new in pairs]
    raw["normalizer"] = {
        "type": "Sequence",
        "normalizers": [*replaced, {"type": "Prepend", "prepend": "\u2581"}, {"type": "NFKD"}],
    }
    path.write_text(json.dumps(raw))
    assert load_tokenizer(PretrainedTeacherConfig(path=str(folder))).is_fast


def test_a_row_of_megabytes_is_cut_before_it_is_tokenized():
    started = time.monotonic()
    encoded = encode(Rows((["good " * 2_000_000, "good"],), np.zeros(2, dtype=np.int64)), builtin_tokenizer(), 16, None)
    assert encoded.lengths.tolist() == [16, 3]
    assert encoded.truncated_rows == 1
    assert time.monotonic() - started < 5


def test_a_pipe_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "recipe.yaml")
    with pytest.raises(UserError, match=r"cannot be read as a recipe \(a pipe or a device\); give a file"):
        load_recipe(tmp_path / "recipe.yaml")


def test_two_processes_do_not_work_on_one_run(tmp_path):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    with leased(prepared.storage, prepared.run_folder), pytest.raises(UserError, match="is being run by"):
        run_in_process(prepared)
    alone = run_in_process(prepared_run(tmp_path / "alone", "conventional"))
    assert numbers(run_in_process(prepared)) == numbers(alone)
    with leased(prepared.storage, prepared.run_folder):
        assert numbers(run_in_process(prepared)) == numbers(alone), "what is finished is read by anyone"


def test_what_is_mounted_below_a_run_is_not_emptied(tmp_path):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    run_in_process(prepared)
    stages = prepared.run_folder / "stages"
    stages.rename(prepared.run_folder / "aside")
    mount(stages, "1m")
    try:
        (stages / "precious").write_text("theirs")
        clean(tmp_path / "runs")
        assert (stages / "precious").read_text() == "theirs"
    finally:
        unmount(stages)


_UNDER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) * 2**30,) * 2)
from minidisc_ray.cli import main
sys.argv = ["minidisc", *sys.argv[2:]]
main()
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="this system has no limit of address space")
@pytest.mark.parametrize("command", ["ls", "status", "compare"])
def test_what_only_reads_does_so_in_four_gigabytes(small_storage, command):
    storage = ["--storage", str(small_storage)] if command == "ls" else [str(small_storage)]
    ended = subprocess.run(
        [sys.executable, "-c", _UNDER, "4", command, *storage], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "conventional" in ended.stdout.lower()


_RUN_UNDER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30,) * 2)
sys.path[:0] = sys.argv[2:]
from pipeline_kit import prepared_run
from minidisc_ray.pipeline.in_process import run_in_process
print(run_in_process(prepared_run(sys.argv[1], "conventional")).name)
"""


def test_a_small_run_takes_less_than_eight_gigabytes(tmp_path):
    command = [sys.executable, "-c", _RUN_UNDER, str(tmp_path / "runs"), *filter(None, sys.path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert (tmp_path / "runs" / ended.stdout.split()[-1] / "result.json").is_file()


@pytest.fixture(scope="module")
def small_storage(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    run_in_process(prepared_run(root, "conventional"))
    return root
