"""The reference of config keys is what the models say, and has every one of them."""

import importlib.util
from pathlib import Path

import pytest

from minidisc_ray.configs.run import RunConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("config_reference", ROOT / ".ci" / "config_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(reference):
    assert reference.main(["--check"]) == 0, "python .ci/config_reference.py writes it"


def test_every_section_and_key_of_a_recipe_is_there(reference):
    text = reference.page()
    for name in RunConfig.model_fields:
        assert f"| `{name}` |" in text
    for heading in ("### `schedule`, kind `minidisc`", "### `objective`, kind `distiller`", "### `data`, kind `hub`"):
        assert heading in text
    for key in ("importance_rows", "early_stop_epochs", "num_sampled", "price_per_device_hour"):
        assert f"| `{key}` |" in text


def test_a_change_is_noticed(reference, tmp_path, monkeypatch, capsys):
    stale = tmp_path / "config.md"
    stale.write_text(reference.page().replace("`num_epochs`", "`epochs`"))
    monkeypatch.setattr(reference, "PAGE", stale)
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "config.md is not current" in capsys.readouterr().err
