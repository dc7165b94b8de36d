"""Students in environments without minidisc_ray: torch and transformers alone, then ONNX Runtime alone."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from ship_kit import fresh_python, printed, result_of
from storage_kit import LOCAL
from tiny_models import FAMILY_NAMES, ODD, REGRESSION, TASK, tiny_config
from transformers import AutoModelForSequenceClassification

from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.surgery import cut

PAIRS = [("good plot", "bad actor"), ("a dull film but a great end", "great"), ("bad", "a good plot and a great film")]

_TORCH = """
import json, sys
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

pairs, rows, student, *folders = json.load(open(sys.argv[1]))
torch.set_num_threads(1)
found = {}
for folder in folders:
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    base = AutoModel.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    wanted = load_file(folder + ".expected.safetensors")
    with torch.inference_mode():
        for name, texts in (("one", [a for a, _ in pairs]), ("two", pairs)):
            given = tokenizer(*(zip(*texts) if name == "two" else [texts]), padding=True, return_tensors="pt")
            logits = model(**given).logits
            found[folder + " " + name] = bool(torch.equal(logits, wanted[name]))
classify = pipeline("text-classification", student, trust_remote_code=True, device=-1)
labels = [classify(text)[0]["label"] for text in rows]
print("RESULT " + json.dumps({"equal": found, "labels": labels, "modules": sorted(sys.modules)}))
"""

_ONNX = """
import json, sys
import numpy, onnxruntime, tokenizers

folder, graph, rows = sys.argv[1:]
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
session = onnxruntime.InferenceSession(folder + "/onnx/" + graph)
names = json.load(open(folder + "/config.json"))["id2label"]
labels = []
for text in json.load(open(rows)):
    found = tokenizer.encode(text)
    given = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
    feed = {i.name: numpy.array([given[i.name]], dtype=numpy.int64) for i in session.get_inputs()}
    labels.append(names[str(session.run(["logits"], feed)[0][0].argmax())])
print("RESULT " + json.dumps([labels, "torch" in sys.modules or "transformers" in sys.modules]))
"""


def student_with_words(family, structure, task):
    """A tiny model with the built-in vocabulary, cut to a structure; None for a dense one."""
    config = tiny_config(family, task)
    config.vocab_size = len(builtin_vocabulary())
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return (model if structure is None else cut(model, structure)).eval()


@pytest.fixture(scope="module")
def tiny_folders(tmp_path_factory):
    """Every family with headless layers, classes and a regression; and what each answers to texts and to pairs."""
    root = tmp_path_factory.mktemp("tiny")
    tokenizer, folders = builtin_tokenizer(), []
    for family in FAMILY_NAMES:
        for kind, task in (("classes", TASK), ("regression", REGRESSION)):
            folder = root / f"{family}-{kind}"
            save_model(LOCAL, student_with_words(family, ODD, task), tokenizer, folder)
            model, expected = load_model(folder).eval(), {}
            with torch.inference_mode():
                for name, texts in (("one", [[a for a, _ in PAIRS]]), ("two", list(zip(*PAIRS, strict=True)))):
                    given = tokenizer(*map(list, texts), padding=True, return_tensors="pt")
                    expected[name] = model(**given).logits
            save_file(expected, f"{folder}.expected.safetensors")
            folders.append(folder)
    return folders


def test_torch_and_transformers_alone(shipped, tiny_folders, tmp_path, capsys):
    python = fresh_python(tmp_path / "venv", "torch", "transformers")
    (tmp_path / "given.json").write_text(
        json.dumps([PAIRS, shipped.texts, str(shipped.student), *map(str, tiny_folders)])
    )
    found = result_of(
        printed([python, "-c", _TORCH, tmp_path / "given.json"], tmp_path, HF_MODULES_CACHE=str(tmp_path))
    )
    assert "minidisc_ray" not in found["modules"]
    assert all(found["equal"].values()), found["equal"]
    assert len(found["equal"]) == 2 * 2 * len(FAMILY_NAMES)
    assert found["labels"] == list(shipped.answers)
    with capsys.disabled():
        print(
            f"\ntorch and transformers alone: {len(found['equal'])} tiny answers equal to the last bit; "
            f"labels equal on {len(found['labels'])} of {len(shipped.texts)} SST-2 rows"
        )


def test_onnxruntime_tokenizers_and_numpy_alone(shipped, tmp_path, capsys):
    python = fresh_python(tmp_path / "venv", "onnxruntime", "tokenizers", "numpy")
    (tmp_path / "rows.json").write_text(json.dumps(shipped.texts))
    answers = {}
    for graph in ("model.onnx", "model_quantized.onnx"):
        command = [python, "-c", _ONNX, shipped.export, graph, tmp_path / "rows.json"]
        answers[graph], is_torch_there = result_of(printed(command, tmp_path))
        assert not is_torch_there
    assert answers["model.onnx"] == list(shipped.answers)
    lost = shipped.points(shipped.answers) - shipped.points(answers["model_quantized.onnx"])
    assert lost <= shipped.max_drop
    equal = np.mean([a == b for a, b in zip(answers["model_quantized.onnx"], shipped.answers, strict=True)])
    with capsys.disabled():
        print(
            f"\nonnxruntime, tokenizers and numpy alone: float32 labels equal on {len(shipped.texts)} rows; int8 on "
            f"{100 * equal:.1f}% of them, {lost:+.2f} points lost of {shipped.points(shipped.answers):.2f}"
        )
