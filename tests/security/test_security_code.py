"""Nothing that is read runs: no pickle, no code that comes with a model, no other language's eval."""

import ast
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from armed_pickle import arm_all, armed, write_armed_weights
from storage_kit import LOCAL
from tiny_models import TASK, tiny_model

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.data import builtin_tokenizer, load_splits
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.contents import content_digest
from minidisc_ray.models.loading import load_config, load_teacher, load_tokenizer
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "minidisc_ray").rglob("*.py"), *(ROOT / "jobs").glob("*.py")])
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
LISTENERS = {
    "socket",
    "socketserver",
    "http.server",
    "xmlrpc",
    "wsgiref",
    "uvicorn",
    "flask",
    "fastapi",
    "aiohttp",
    "asyncio",
}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.load", "numpy.load", "torch.load",
    "torch.jit.load", "pd.read_pickle", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "Tuner.restore", "tune.Tuner.restore", "TorchTrainer.restore", "Tuner.can_restore",
}  # fmt: skip


def dangers(source: str) -> list[str]:
    """What in a source could run or open something that it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [name.name for name in names if _is_of(name.name, PICKLES | LISTENERS)]
            case ast.ImportFrom(module="socket", names=[ast.alias(name="create_connection")]):
                pass  # connects, and cannot listen
            case ast.ImportFrom(module=module, names=names):
                whole = [module or "", *(f"{module}.{name.name}" for name in names)]
                found += [name for name in whole if _is_of(name, PICKLES | LISTENERS)][:1]
            case ast.Attribute(attr=attribute) if attribute in (
                "read_pickle",
                "to_pickle",
                "unsafe_load",
                "UnsafeLoader",
                "FullLoader",
            ):
                found.append(attribute)
            case ast.Call(func=function, keywords=keywords):
                called, given = ast.unparse(function), {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
                if called in CALLS and given.get("weights_only") != "True":
                    found.append(called)
                if given.get("shell", "False") != "False" or given.get("allow_pickle", "False") != "False":
                    found.append(f"{called} with a shell or pickles")
                if given.get("trust_remote_code") == "True":
                    found.append(f"{called} with remote code")
                if (
                    called.startswith("Auto")
                    and called.endswith("from_pretrained")
                    and "trust_remote_code" not in given
                ):
                    # Without a word transformers asks at the terminal.
                    found.append(f"{called} that may ask whether to run code")
    return found


def _is_of(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_no_source_loads_pickles_runs_texts_or_listens():
    assert len(SOURCES) > 100
    assert {str(path): found for path in SOURCES if (found := dangers(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import socket", "from socket import socket", "from socket import create_connection, create_server",
        "import pickle", "from cloudpickle import loads", "import http.server", "from http import server",
        "torch.load(path)", "eval(text)", "subprocess.run(command, shell=True)", "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=Loader)", "class A(yaml.UnsafeLoader): pass",
        "AutoModel.from_pretrained(x, trust_remote_code=True)", "AutoConfig.from_pretrained(x)",
        "pandas.read_pickle(path)", "tune.Tuner.restore(path)",
    ],
)  # fmt: skip
def test_the_scan_sees(source):
    assert dangers(source)


def test_the_scan_lets_weights_pass():
    assert dangers("torch.load(path, weights_only=True)\nyaml.safe_load(text)\nsubprocess.run(command)") == []


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it ran"


@pytest.fixture
def folder(tmp_path):
    save_model(LOCAL, tiny_model("bert"), builtin_tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def refused_everywhere(folder: Path) -> None:
    """As a teacher, as a student of its own, and to predict with."""
    teacher = PretrainedTeacherConfig(path=str(folder))
    for load in (lambda: load_teacher(teacher, TASK, seed=0), lambda: load_model(folder)):
        with pytest.raises(UserError) as caught:
            load()
        assert str(caught.value).isprintable()


def test_the_payload_works(marker):
    pickle.loads(armed(marker))
    assert marker.exists()


def test_weights_in_a_pickle_are_refused(folder, marker):
    (folder / "model.safetensors").unlink()
    write_armed_weights(folder / "pytorch_model.bin", marker)
    refused_everywhere(folder)
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        content_digest(PretrainedTeacherConfig(path=str(folder)))
    assert not marker.exists()


def test_a_pickle_called_safetensors_is_refused(folder, marker):
    write_armed_weights(folder / "model.safetensors", marker)
    refused_everywhere(folder)
    (folder / "model.safetensors").write_bytes(armed(marker))
    refused_everywhere(folder)
    assert not marker.exists()


def test_an_index_that_names_a_pickle_is_refused(folder, marker):
    (folder / "model.safetensors").unlink()
    write_armed_weights(folder / "evil.bin", marker)
    weights = dict.fromkeys(tiny_model("bert").state_dict(), "evil.bin")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    refused_everywhere(folder)
    with pytest.raises(UserError, match="safetensors files beside it only"):
        content_digest(PretrainedTeacherConfig(path=str(folder)))
    assert not marker.exists()


def test_pickles_beside_weights_are_left_alone(folder, marker):
    for name in (
        "pytorch_model.bin",
        "optimizer.pt",
        "training_args.bin",
        "scheduler.pt",
        "tokenizer.pkl",
        "tokenizer.bin",
    ):
        write_armed_weights(folder / name, marker)
    teacher = PretrainedTeacherConfig(path=str(folder))
    assert len(load_tokenizer(teacher)) > 0
    assert torch.equal(load_teacher(teacher, TASK, seed=0).classifier.weight, tiny_model("bert").classifier.weight)
    load_model(folder)
    assert not marker.exists()


@pytest.mark.parametrize("model_type", ["bert", "unheard_of"])
def test_code_that_comes_with_a_model_is_not_run_and_there_is_no_question(folder, marker, model_type, monkeypatch):
    def asked(*_: object) -> str:
        raise AssertionError("a question at the terminal")

    monkeypatch.setattr("builtins.input", asked)
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    kinds = ("AutoConfig", "AutoModelForSequenceClassification", "AutoTokenizer")
    config |= {"model_type": model_type, "auto_map": dict.fromkeys(kinds, "evil.Evil")}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    teacher = PretrainedTeacherConfig(path=str(folder))
    assert teacher.trust_remote_code is False
    for load in (load_tokenizer, load_config, lambda one: load_model(one.path), lambda one: load_teacher(one, TASK, 0)):
        try:
            load(teacher)
        except UserError:
            continue
        # By transformers' own code; a tokenizer.json needs no other.
        assert model_type == "bert" or load is load_tokenizer
    assert not marker.exists()


def test_a_reader_of_pickles_is_no_data_set(tmp_path, monkeypatch, marker):
    (tmp_path / "train.pkl").write_bytes(armed(marker))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data\.path: pandas loads pickles, which is never allowed"):
        load_splits(resolve({"task": "mrpc", "data": {"kind": "hub", "path": "pandas"}}))
    assert not marker.exists()


def test_a_run_in_a_storage_full_of_pickles_loads_none(tmp_path, marker):
    once = {"num_epochs": 1, "batch_size": 32, "learning_rate": 2e-3, "early_stop_epochs": None}
    raw = {
        "data": {"kind": "builtin", "train_rows": 64, "validation_rows": 32, "test_rows": 32},
        "teacher": {
            "kind": "builtin",
            "num_layers": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 16,
            "allow_at_chance": True,
        },
        "student": {"scale_percent": 50},
        "schedule": {"kind": "conventional"},
        "pruning": {"neuron_multiple": 1},
        "finetune": once,
        "distil": once,
        "storage": str(tmp_path / "storage"),
    }
    prepared = prepare(resolve(raw))
    run, shared = prepared.run_folder, prepared.shared_folder
    stages = [
        run / "stages" / stage / kept
        for stage in ("teacher", "importance", "student")
        for kept in ("newest", "best", "model")
    ]
    teachers = [
        shared / f"teacher-{prepared.teacher_key}",
        shared / f"importance-{prepared.importance_key}",
        shared / "encodings",
    ]
    for place in (run, run / "student", run / "predictions", run / "ray" / "tune-001", *stages, *teachers):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("tuner.pkl", "trainable.pkl", "searcher-state-1.pkl", "state.pkl"):
            (place / name).write_bytes(armed(marker))
        for name in (
            "pytorch_model.bin",
            "optimizer.pt",
            "optimizer.safetensors",
            "model.safetensors",
            "importance.safetensors",
        ):
            write_armed_weights(place / name, marker)
    (run / "identity.json").write_text(json.dumps(prepared.identity))
    assert arm_all(run, marker)
    result = run_in_process(prepared)
    assert 0 <= result.student.validation_metrics["accuracy"] <= 1
    assert not marker.exists()


def test_planning_opens_no_socket_that_listens(tmp_path):
    """The process itself looks at its sockets, no matter who opened them, once the command is done."""
    script = """
import os, sys
from pathlib import Path
from minidisc_ray.cli import main
try:
    main(["plan", sys.argv[1], "--storage", sys.argv[2]])
except SystemExit as ended:
    assert not ended.code, ended.code
own = {os.readlink(path) for path in list(Path("/proc/self/fd").iterdir()) if os.path.lexists(path)}
listening = []
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
            listening.append(fields[1])
for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
    fields = line.split()
    if int(fields[3], 16) & 0x10000 and f"socket:[{fields[6]}]" in own:
        listening.append(line)
print("LISTENING", listening, "ray" in sys.modules)
"""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("task: builtin\ndata: {kind: builtin, train_rows: 64, validation_rows: 32, test_rows: 32}\n")
    done = subprocess.run(
        [sys.executable, "-c", script, str(recipe), str(tmp_path / "storage")],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LISTENING [] False"
