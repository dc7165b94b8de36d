"""A student's folder, as someone else's process sees it."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from storage_kit import LOCAL
from tiny_models import (
    FAMILY_NAMES,
    LABEL_NAMES,
    ODD,
    SPARSE,
    batch_of,
    max_difference,
    random_rows,
    structures,
    student_of,
    tiny_model,
)
from transformers import AutoModelForSequenceClassification

from minidisc_ray.configs.base import UserError
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.files.digests import SEAL
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.families import family_of
from minidisc_ray.models.folder_readme import folder_readme
from minidisc_ray.models.forward import model_inputs, run_model
from minidisc_ray.models.pruned import PRUNED_CLASSES, structure_of
from minidisc_ray.models.registration import CONFIG_CLASSES
from minidisc_ray.models.surgery import cut

STRUCTURES = {"plain": structures((40,))[40], "sparse": SPARSE, "odd": ODD}


@pytest.fixture(params=STRUCTURES)
def student(family, request):
    return student_of(family, STRUCTURES[request.param])


@pytest.fixture
def saved(student, tmp_path):
    save_model(LOCAL, student, builtin_tokenizer(), tmp_path / "student")
    return tmp_path / "student"


def test_a_saved_student_loads_as_it_was(student, saved):
    batch = batch_of(random_rows(5), student)
    loaded = load_model(saved)
    assert type(loaded) is type(student)
    assert max_difference(run_model(loaded, batch).logits, run_model(student, batch).logits) < 1e-6
    assert structure_of(loaded.config) == structure_of(student.config)
    assert not loaded.training


def test_only_safetensors_hold_weights_and_the_structure_is_in_the_config(student, saved):
    structure = structure_of(student.config)
    suffixes = {path.suffix for path in saved.iterdir()}
    assert suffixes <= {".json", ".safetensors", ".txt", ".jinja", ".py", ".md"}
    tensors = load_file(saved / "model.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == sum(p.numel() for p in student.parameters())
    config = json.loads((saved / "config.json").read_text())
    assert config["minidisc_layers"] == [list(sizes) for sizes in zip(structure.heads, structure.neurons, strict=True)]
    assert config["minidisc_scale_percent"] == structure.scale_percent
    assert config["id2label"] == {str(i): name for i, name in enumerate(LABEL_NAMES)}
    assert config["architectures"] == [type(student).__name__]


def test_a_student_saved_when_sizes_were_recorded_layer_by_layer_loads_as_it_was(student, saved):
    batch = batch_of(random_rows(5), student)
    family, structure = family_of(student.config.model_type), structure_of(student.config)
    config = json.loads((saved / "config.json").read_text())
    del config["minidisc_layers"], config["auto_map"]
    # What every layer has was left out.
    whole = config[family.neurons_key]
    config["per_layer_config"] = {
        str(layer): {family.heads_key: heads} | ({family.neurons_key: neurons} if neurons != whole else {})
        for layer, (heads, neurons) in enumerate(zip(structure.heads, structure.neurons, strict=True))
    }
    (saved / "config.json").write_text(json.dumps(config))
    (saved / SEAL).unlink()
    loaded = load_model(saved)
    assert structure_of(loaded.config) == structure
    assert max_difference(run_model(loaded, batch).logits, run_model(student, batch).logits) < 1e-6
    assert "per_layer_config" not in loaded.config.to_dict()
    assert loaded.config.auto_map == student.config.auto_map
    assert set(loaded.config.auto_map) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    }


def test_eager_attention_gives_the_same_logits(student, saved):
    batch = batch_of(random_rows(5), student)
    loaded = load_model(saved)
    before = run_model(loaded, batch).logits
    loaded.set_attn_implementation("eager")
    assert loaded.config._attn_implementation == "eager"
    assert max_difference(run_model(loaded, batch).logits, before) < 1e-5


def test_saving_a_loaded_student_again_keeps_it(student, saved, tmp_path):
    batch = batch_of(random_rows(5), student)
    expected = run_model(student, batch).logits
    for copy in ("second", "third"):
        loaded = AutoModelForSequenceClassification.from_pretrained(saved)
        loaded.save_pretrained(tmp_path / copy)
        saved = tmp_path / copy
    again = load_model(saved)
    assert structure_of(again.config) == structure_of(student.config)
    assert max_difference(run_model(again, batch).logits, expected) < 1e-6


def test_a_loaded_student_can_be_cut_further(student, saved):
    smaller = cut(
        load_model(saved), ODD if ODD.is_within(structure_of(student.config)) else structure_of(student.config)
    )
    batch = batch_of(random_rows(5), student)
    assert torch.isfinite(run_model(smaller, batch).logits).all()
    with pytest.raises(AssertionError, match="larger"):
        cut(smaller, structures((100,))[100])


# A config alone loads as soon as the package was imported, whatever of theirs was not yet.
_FRESH = """
import json, sys
{imports}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = torch.load(folder + "/inputs.bin")
    with torch.no_grad():
        logits = model(**inputs).logits
    text = tokenizer("the plot was not good")["input_ids"]
    print("RESULT", json.dumps([type(model).__name__, model.config.id2label, logits.tolist(), text]))
"""
_OURS, _THEIRS = "import minidisc_ray", "from transformers import AutoModelForSequenceClassification, AutoTokenizer"
_CONFIG = """
from transformers import AutoConfig
config = AutoConfig.from_pretrained(sys.argv[1])
print("CONFIG", type(config).__module__, type(config).__name__, config.minidisc_scale_percent)
"""


def test_every_pruned_class_is_registered_by_its_name():
    names = {family: kind.config_class.__name__ for family, kind in PRUNED_CLASSES.items()}
    assert names == CONFIG_CLASSES


# In the tests' own process transformers came first.
@pytest.mark.parametrize(
    "imports",
    [
        pytest.param((_OURS, _CONFIG, _THEIRS), id="ours_first"),
        pytest.param((_THEIRS, _OURS, _CONFIG), id="theirs_first", marks=pytest.mark.slow),
    ],
)
def test_students_of_every_family_load_in_a_fresh_process(tmp_path, imports):
    folders, expected = [], []
    for family, structure in zip(FAMILY_NAMES, (ODD, SPARSE, STRUCTURES["plain"], ODD), strict=True):
        student = student_of(family, structure)
        save_model(LOCAL, student, builtin_tokenizer(), tmp_path / family)
        batch = batch_of(random_rows(4), student)
        torch.save(model_inputs(student, batch), tmp_path / family / "inputs.bin")
        folders.append(str(tmp_path / family))
        expected.append(run_model(student, batch).logits.detach())
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    code = _FRESH.replace("{imports}", "\n".join((*imports, "import torch")))
    fresh = subprocess.run(
        [sys.executable, "-c", code, *folders], capture_output=True, text=True, check=False, env=environment
    )
    assert fresh.returncode == 0, fresh.stderr[-2000:]
    found = [
        json.loads(line.removeprefix("RESULT ")) for line in fresh.stdout.splitlines() if line.startswith("RESULT")
    ]
    percent = structure_of(load_model(tmp_path / "bert").config).scale_percent
    (config,) = [line.split() for line in fresh.stdout.splitlines() if line.startswith("CONFIG")]
    assert config == ["CONFIG", "minidisc_ray.models.modeling_minidisc", "PrunedBertConfig", str(percent)]
    assert len(found) == len(FAMILY_NAMES)
    for (name, labels, logits, text), tensor, family in zip(found, expected, FAMILY_NAMES, strict=True):
        assert name.lower() == f"pruned{family}forsequenceclassification"
        assert labels == {str(i): label for i, label in enumerate(LABEL_NAMES)}
        assert max_difference(torch.tensor(logits), tensor) < 1e-5
        assert text == builtin_tokenizer()("the plot was not good")["input_ids"]


def test_a_folder_without_a_model_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no model there"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"there is no model\.safetensors"):
        load_model(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(tmp_path)


def test_saving_over_a_student_replaces_it_whole(tmp_path):
    folder = tmp_path / "student"
    save_model(LOCAL, student_of("bert", STRUCTURES["plain"]), builtin_tokenizer(), folder)
    (folder / "stray.txt").write_text("left by someone")
    save_model(LOCAL, student_of("bert", ODD), builtin_tokenizer(), folder)
    assert structure_of(load_model(folder).config) == ODD
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert not (folder / "stray.txt").exists()


def test_only_a_pruned_model_has_a_readme_of_how_it_loads(student):
    assert "# A pruned" in folder_readme(student)
    dense = tiny_model("bert")
    dense.config.auto_map = {"AutoConfig": "own.OwnConfig"}
    assert folder_readme(dense) is None
