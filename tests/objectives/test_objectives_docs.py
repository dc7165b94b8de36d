"""The worked example of docs/objectives.md is run as it stands, and every kind is on the page."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from objective_kit import Pairing, equal_traces, pair_of, slim_model
from tiny_models import batch_of, max_difference, random_rows, tiny_model, totals_of

from minidisc_ray.configs import objective as configs
from minidisc_ray.configs import resolve
from minidisc_ray.data import collate
from minidisc_ray.objectives import build_objective

PAGE = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")


@pytest.fixture
def pooled(monkeypatch):
    """The page's two files: the config class where it says, the objective's with its own imports and no others."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    config, objective = (
        next(block for block in blocks if word in block) for word in ("(ObjectiveBase)", "@objective_of")
    )
    assert len(objective.splitlines()) <= 34
    names = dict(vars(configs))
    exec(compile(config, "objective.py", "exec"), names)
    monkeypatch.setattr(configs, "PooledConfig", names["PooledConfig"], raising=False)
    exec(compile(objective, "pooled.py", "exec"), {})
    return names["PooledConfig"]


def pairing_of(pooled, student):
    teacher = tiny_model("bert", seed=2)
    return Pairing(teacher, student, build_objective(pooled(), pair_of(teacher, student)))


def test_the_example_keeps_the_contract(pooled):
    rows = random_rows(6)
    found = pairing_of(pooled, tiny_model("bert", seed=1))
    batch, padded = batch_of(rows, found.student), batch_of(rows, found.student, pad_to=128)
    assert float(found.value(batch).detach()) > 0.01
    assert max_difference(found.value(batch), found.value(padded)) < 1e-5
    parts = [collate(rows, torch.tensor(indices), 0) for indices in ([0], [1, 2, 3], [4, 5])]
    assert max_difference(sum(found.value(part, totals_of(batch)) for part in parts), found.value(batch)) < 1e-5
    student, target = equal_traces(found, batch)
    assert found.objective(student, target, batch, totals_of(batch))["pooled"].item() == pytest.approx(0, abs=1e-6)
    slim = pairing_of(pooled, slim_model())
    slim.value(batch).backward()
    assert all(part.grad.any() for part in slim.objective.parameters())


def test_every_kind_is_on_the_page():
    union = get_args(get_args(configs.ObjectiveConfig)[0])
    for member in union:
        assert f"`{member.model_fields['kind'].default}`" in PAGE, member


def test_every_key_and_default_is_on_the_page():
    for member in get_args(get_args(configs.ObjectiveConfig)[0]):
        keys = set(member.model_fields) - {"kind"}
        (line,) = re.findall(rf"(?m)^- `{member.model_fields['kind'].default}`: (.*)$", PAGE) or [""]
        assert set(re.findall(r"`(\w+)`", line)) == keys, member


def test_the_pages_paths_exist():
    root = Path(__file__).parents[2]
    for path in set(re.findall(r"(?:tests|minidisc_ray)/[\w/]+\.py", PAGE)):
        assert (root / path).is_file(), path


def test_the_pages_recipes_are_recipes():
    block = next(re.finditer(r"```yaml\n(.*?)```", PAGE, re.DOTALL)).group(1)
    texts = re.split(r"(?m)^(?=objective:)", block)
    kinds = [resolve(yaml.safe_load(text)).objective.kind for text in texts if text.strip()]
    assert kinds == ["hs", "sum", "sequence"]
