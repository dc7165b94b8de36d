import json
import os
import re
from pathlib import Path
from typing import get_args

import pytest
from tiny_models import tiny_model

from minidisc_ray.api import plan
from minidisc_ray.configs import load_recipe
from minidisc_ray.configs.identity import run_identity, run_name
from minidisc_ray.configs.task import GlueTask, GlueTaskConfig
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary, resolve_task
from minidisc_ray.data.tasks import task_columns
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.student_scale import checkpoint_percent, layers_percent

ROOT = Path(__file__).parents[2]
# Of the model that the shipped recipes name: a student of some layers is a share of them.
MINILM_LAYERS = 6
RECIPES = sorted((ROOT / "recipes").glob("*.y*ml"))


@pytest.fixture(params=RECIPES, ids=lambda path: path.name)
def recipe(request):
    return request.param


@pytest.fixture
def anywhere(monkeypatch):
    monkeypatch.setenv("MINIDISC_DATA", "/data/of/anybody")
    monkeypatch.setenv("MINIDISC_MODELS", "/models/of/anybody")


def with_scale(config):
    """The recipe with its student's scale, as the sizes of the shipped model say; its layers are of one size."""
    if config.student.kind == "checkpoint":
        percent = checkpoint_percent(config.student, config.student.num_layers, MINILM_LAYERS)
    elif config.student.kind == "layers":
        percent = layers_percent(config.student, MINILM_LAYERS)
    else:
        return config
    return config.with_student_scale(percent)


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} >= set(get_args(GlueTask))


def test_a_recipe_validates_wherever_data_and_models_lie(anywhere, recipe):
    config = with_scale(load_recipe(recipe))
    assert recipe.stem.startswith(config.task.name)
    assert config.data.folder.startswith("/data/of/anybody/")
    assert config.teacher.path.startswith("/models/of/anybody/")
    assert Path(config.storage).name == config.storage, "runs go below the folder that the command is called in"
    name = run_name(config, run_identity(config, {"data": "", "teacher": ""}))
    assert name.startswith(f"{config.task.name}-{config.schedule.kind}-{config.student_percent}pc-seed{config.seed}-")


@pytest.mark.parametrize("kind", ["conventional", "sparse_teacher", "assistant", "minidisc", "maxidisc"])
def test_a_recipe_serves_every_schedule(anywhere, recipe, kind):
    # Above the scale of every shipped student.
    above = ["schedule.assistant_percent=60"] if kind == "assistant" else []
    config = with_scale(load_recipe(recipe, [f"schedule.kind={kind}", *above]))
    assert config.schedule.kind == kind
    assert bool(config.candidate_scales()) == (kind != "conventional")


def test_a_recipes_header_says_what_it_needs_and_how_it_is_run(anywhere, recipe):
    text = recipe.read_text(encoding="utf-8")
    header = text[: re.search(r"^[^#\n]", text, re.MULTILINE).start()]
    command = re.search(r"^#   minidisc run (\S+)((?: --set \S+)*)\s*$", header, re.MULTILINE)
    assert command is not None, "the header names the command"
    assert ROOT / command.group(1) == recipe, "and that of this very file"
    load_recipe(recipe, command.group(2).replace("--set", "").split())
    assert "Needs:" in header


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    model = tiny_model("bert")
    model.resize_token_embeddings(len(builtin_vocabulary()))
    model.save_pretrained(root / "minilm-l6")
    builtin_tokenizer().save_pretrained(root / "minilm-l6")
    return root


@pytest.mark.parametrize("task", get_args(GlueTask))
def test_every_glue_task_has_a_recipe_that_plans(models, tmp_path, monkeypatch, task):
    """On rows in the task's own columns, with labels as GLUE's files have them."""
    *texts, label = task_columns(GlueTaskConfig(name=task))
    num_classes = resolve_task(GlueTaskConfig(name=task)).num_labels
    (tmp_path / task).mkdir()
    for split, count in (("train", 60), ("validation", 30)):
        rows = [{**{text: f"{text} is {i}" for text in texts}, label: i % max(num_classes, 2)} for i in range(count)]
        (tmp_path / task / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("MINIDISC_DATA", str(tmp_path))
    monkeypatch.setenv("MINIDISC_MODELS", str(models))
    changes = [f"storage={tmp_path / 'storage'}", "teacher.fine_tuned=false", "pruning.neuron_multiple=1"]
    prepared = plan(ROOT / "recipes" / f"{task}.yaml", [*changes, "student.scale_percent=10"])
    assert (prepared.task.name, prepared.task.num_labels) == (task, num_classes)
    assert len(prepared.splits.train) + len(prepared.splits.selection) == 60
    assert "sandwich" in [stage.stage for stage in Estimator(prepared).stages()]


def test_mrpc_plans_on_the_real_rows_and_model(tmp_path):
    places = {name: os.environ.get(name) for name in ("MINIDISC_DATA", "MINIDISC_MODELS")}
    folders = [(places["MINIDISC_DATA"], "mrpc"), (places["MINIDISC_MODELS"], "minilm-l6")]
    missing = [name for root, name in folders if not root or not (Path(root) / name).is_dir()]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} below MINIDISC_DATA and MINIDISC_MODELS")
    prepared = plan(ROOT / "recipes" / "mrpc.yaml", [f"storage={tmp_path / 'storage'}"])
    assert len(prepared.splits.train) + len(prepared.splits.selection) == 3668
    assert len(prepared.splits.validation["validation"]) == 408
    assert prepared.task.primary_metric == "f1"
    assert (prepared.shape.num_layers, prepared.shape.num_heads, prepared.shape.intermediate_size) == (6, 12, 1536)
    stages = {stage.stage: stage.training_flops for stage in Estimator(prepared).stages()}
    assert list(stages) == ["teacher", "importance", "sandwich", "choose", "student"]
    assert stages["sandwich"] > stages["student"] > 0
    assert not (tmp_path / "storage").exists()
