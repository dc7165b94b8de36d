"""Every example of the Python reference is run as it stands, in one folder; so are README's lines."""

import doctest
import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ray_kit import RAY

from minidisc_ray.configs import load_recipe
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare

ROOT = Path(__file__).parents[2]
pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _reference() -> Any:
    spec = importlib.util.spec_from_file_location("api_reference", ROOT / ".ci" / "api_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = _reference()
NAMES = [name for name in (*REFERENCE.FRONT, *REFERENCE.FURTHER) if name != "run"]


def failures(text: str, name: str, names: dict[str, Any]) -> str:
    """What doctest finds wrong with the examples in a text."""
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    assert test.examples
    found: list[str] = []
    doctest.DocTestRunner(optionflags=_OPTIONS, verbose=False).run(test, out=found.append, clear_globs=False)
    return "".join(found)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The page's own names, in the folder where the example of ``run`` has left its run."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("examples"))
    found: dict[str, Any] = {}
    exec(REFERENCE.SETUP, found)
    assert not failures(REFERENCE.sections_of(found["run"])["Example"], "run", dict(found))
    yield found
    os.chdir(before)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_gives_what_it_shows(names, name):
    text = REFERENCE.sections_of(REFERENCE.documented()[name])["Example"]
    assert not failures(text, name, dict(names))


def test_readmes_lines_of_python(tmp_path, monkeypatch):
    """Of the run that is there already: that one is made on Ray is what the example of ``run`` shows."""
    (lines,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    (recipe,) = re.findall(r'^>>> recipe = "(.+)"$', lines, re.M)
    made = prepare(load_recipe(recipe))
    run_in_process(made)
    assert not failures(lines, "README.md", {})
    assert not (made.run_folder / "ray").exists(), "a finished run is not repeated"


def test_an_example_that_shows_something_else_is_seen(names):
    assert "Expected" in failures(">>> list(open_family('runs/first'))\n[60, 10]\n", "wrong", dict(names))
