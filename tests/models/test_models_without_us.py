"""Saved students in processes that cannot import minidisc_ray: the file beside the weights is all they have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from storage_kit import LOCAL
from test_models_export import STRUCTURES
from tiny_models import FAMILY_NAMES, LABEL_NAMES, ODD, SPARSE, batch_of, random_rows, student_of

from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models import modeling_minidisc
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.forward import model_inputs, run_model

_WITHOUT_US = """
import json, sys

class _Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "minidisc_ray":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, _Absent())
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer
from transformers import pipeline

for folder in sys.argv[1:]:
    kwargs = torch.load(folder + "/inputs.bin", weights_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    base = AutoModel.from_pretrained(folder, trust_remote_code=True)
    tokens = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)
    classify = pipeline("text-classification", folder, trust_remote_code=True)
    with torch.no_grad():
        logits, hidden = model(**kwargs).logits, base(**kwargs).last_hidden_state
        same = model(**kwargs, output_hidden_states=True).hidden_states[-1]
        again = tokens(**kwargs).logits.shape[:2]
    model.save_pretrained(folder + "/saved-again")
    reloaded = AutoModelForSequenceClassification.from_pretrained(folder + "/saved-again", trust_remote_code=True)
    with torch.no_grad():
        kept = torch.equal(reloaded(**kwargs).logits, logits)
    print("RESULT " + json.dumps({
        "class": type(model).__name__, "module": type(model).__module__, "logits": logits.tolist(),
        "hidden": torch.equal(hidden, same), "tokens": list(again), "label": classify("a good plot")[0]["label"],
        "kept": kept, "ids": AutoTokenizer.from_pretrained(folder, trust_remote_code=True)("a good plot")["input_ids"],
    }))
"""


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """A student of each family, with layers that kept no head or no neuron, and what it answers."""
    found = {}
    for family, structure in zip(FAMILY_NAMES, (ODD, SPARSE, STRUCTURES["plain"], ODD), strict=True):
        student = student_of(family, structure)
        folder = tmp_path_factory.mktemp("students") / family
        save_model(LOCAL, student, builtin_tokenizer(), folder)
        batch = batch_of(random_rows(4), student)
        torch.save(model_inputs(student, batch), folder / "inputs.bin")
        with torch.no_grad():
            found[folder] = run_model(load_model_quietly(folder), batch).logits
    return found


def load_model_quietly(folder):
    (folder / "inputs.bin").rename(folder.parent / "inputs.bin")  # the seal holds what was saved alone
    try:
        return load_model(folder)
    finally:
        (folder.parent / "inputs.bin").rename(folder / "inputs.bin")


@pytest.fixture(scope="module")
def loaded(students, tmp_path_factory):
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(tmp_path_factory.mktemp("modules")),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    fresh = subprocess.run(
        [sys.executable, "-c", _WITHOUT_US, *map(str, students)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    lines = [line.removeprefix("RESULT ") for line in fresh.stdout.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line) for line in lines]


def test_every_family_loads_and_agrees_to_the_last_bit(students, loaded):
    assert len(loaded) == len(FAMILY_NAMES)
    for found, (folder, logits), family in zip(loaded, students.items(), FAMILY_NAMES, strict=True):
        assert found["class"].lower() == f"pruned{family}forsequenceclassification"
        assert found["module"].startswith("transformers_modules.")
        assert torch.equal(torch.tensor(found["logits"]), logits), folder
        assert found["ids"] == builtin_tokenizer()("a good plot")["input_ids"]


def test_its_encoder_heads_for_tokens_and_pipelines_work(loaded):
    for found in loaded:
        assert found["hidden"]
        assert len(found["tokens"]) == 2
        assert found["label"] in LABEL_NAMES
        assert found["kept"]


def test_the_file_beside_the_weights_is_the_one_that_the_package_uses(students):
    ours = Path(modeling_minidisc.__file__).read_bytes()
    for folder in students:
        assert (folder / "modeling_minidisc.py").read_bytes() == ours
    assert len(ours.splitlines()) < 200
    assert b"import minidisc_ray" not in ours
    assert b"from minidisc_ray" not in ours


def test_the_folder_says_how_it_loads(students):
    for folder in students:
        text = (folder / "README.md").read_text()
        assert "trust_remote_code=True" in text
        assert "import minidisc_ray" in text
