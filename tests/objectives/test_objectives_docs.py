"""The worked example of docs/objectives.md is run as it stands, and every kind is on the page."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from objective_kit import Pairing, equal_traces, pair_of, slim_model
from tiny_models import batch_of, max_difference, random_rows, tiny_model, totals_of

from minidisc_ray import objectives
from minidisc_ray.configs import objective as configs
from minidisc_ray.configs import resolve
from minidisc_ray.core import pair, trace
from minidisc_ray.data import collate
from minidisc_ray.objectives import _base, _layers, build_objective

PAGE = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pooled():
    example = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "@objective_of" in block)
    assert len(example.splitlines()) <= 36
    names = {"Tensor": torch.Tensor}
    for module in (configs, objectives, _base, _layers, pair, trace):
        names |= {name: value for name, value in vars(module).items() if not name.startswith("_")}
    exec(compile(example, "objectives.md", "exec"), names)
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


def test_the_pages_recipes_are_recipes():
    block = next(re.finditer(r"```yaml\n(.*?)```", PAGE, re.DOTALL)).group(1)
    texts = re.split(r"(?m)^(?=objective:)", block)
    kinds = [resolve(yaml.safe_load(text)).objective.kind for text in texts if text.strip()]
    assert kinds == ["hs", "sum", "sequence"]
