"""Plans from the cache: the same as new ones, and only where nothing that they depend on has changed."""

import json

import pytest
import yaml
from pipeline_kit import prepared_run
from storage_kit import LOCAL
from tiny_teacher import TINY_TEACHER

from minidisc_ray.api import plans, runs
from minidisc_ray.api.recipes import config_of
from minidisc_ray.configs.base import UserError
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models.checkpoint import save_model
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.structures import load_shared_teacher
from minidisc_ray.preparation import plan_cache
from minidisc_ray.preparation.plan_cache import plan_key


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    root = tmp_path_factory.mktemp("teacher")
    run = prepared_run(root, "conventional")
    run_in_process(run)
    save_model(LOCAL, load_shared_teacher(run), builtin_tokenizer(), root / "model")
    return root / "model"


@pytest.fixture
def recipe(tmp_path, teacher, monkeypatch):
    monkeypatch.setattr(plan_cache, "_SECONDS_OF_RESOLUTION", -1e9)
    for name, count in (("train", 64), ("validation", 32)):
        texts = (f"the {name} of film {number} was {'good' if number % 2 else 'bad'}" for number in range(count))
        rows = [{"text": text, "label": number % 2} for number, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    raw = {
        "task": {"kind": "classification", "text": ["text"], "label": "label"},
        "data": {"kind": "files", "train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {"kind": "pretrained", "path": str(teacher), "fine_tuned": False, "allow_at_chance": True},
        "student": {"scale_percent": 20},
        "schedule": {"kind": "conventional"},
        "pruning": {"neuron_multiple": 1},
        "storage": str(tmp_path / "runs"),
    }
    path.write_text(yaml.safe_dump(raw))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def planned(monkeypatch):
    """How often a plan was really made."""
    made, plan = [], runs.plan

    def plan_and_note(config):
        made.append(config)
        return plan(config)

    monkeypatch.setattr(runs, "plan", plan_and_note)
    return made


def test_the_second_look_is_the_first_ones(recipe, planned):
    first, second = plans.describe_plan(recipe), plans.describe_plan(recipe)
    assert first == second
    assert len(planned) == 1
    assert [type(part) for part in first.parts] == [type(part) for part in second.parts]


def test_every_input_is_looked_at(recipe, planned, tmp_path, teacher):
    plans.describe_plan(recipe)
    changes = (
        lambda: (tmp_path / "train.jsonl").write_text((tmp_path / "train.jsonl").read_text() * 2),
        lambda: (tmp_path / "validation.jsonl").touch(),
        lambda: (teacher / "note.txt").write_text("a file more"),
        lambda: recipe.write_text(recipe.read_text().replace("scale_percent: 20", "scale_percent: 25")),
    )
    for number, change in enumerate(changes, start=2):
        change()
        plans.describe_plan(recipe)
        plans.describe_plan(recipe)
        assert len(planned) == number


def test_the_storage_is_looked_at_each_time(recipe, planned, tmp_path):
    name = plans.describe_plan(recipe).name
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    with pytest.raises(UserError, match="was made by another config"):
        plans.describe_plan(recipe)
    assert len(planned) == 1


def test_what_is_young_or_on_a_hub_is_not_kept(recipe, monkeypatch):
    config = config_of(recipe, ())
    assert plan_key(config) is not None
    assert plan_key(config_of(recipe, ["teacher.path=bert-base-uncased"])) is None
    assert plan_key(config_of({"task": "mrpc", "data": {"kind": "hub"}, "teacher": TINY_TEACHER}, ())) is None
    monkeypatch.setattr(plan_cache, "_SECONDS_OF_RESOLUTION", 1e9)
    assert plan_key(config) is None


def test_a_damaged_or_forged_plan_is_made_again(recipe, planned):
    plans.describe_plan(recipe)
    key = plan_key(config_of(recipe, ()))
    for text in ("", "[]", '{"name": 3}', '{"parts": "x"}'):
        plan_cache._path(key).write_text(text)
        plans.describe_plan(recipe)
    assert len(planned) == 5


def test_only_the_newest_plans_are_kept(recipe, monkeypatch):
    monkeypatch.setattr(plan_cache, "_MAX_PLANS", 3)
    for seed in range(6):
        plans.describe_plan(recipe, [f"seed={seed}"])
    assert len(list(plan_cache._path("x").parent.glob("*.json"))) == 3
