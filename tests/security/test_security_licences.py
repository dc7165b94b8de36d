"""Every dependency is listed with its licence, and none is copyleft."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def licences():
    spec = importlib.util.spec_from_file_location("licences", ROOT / ".ci" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_is_current_and_all_licences_are_allowed(licences):
    found = licences.packages()
    assert licences.refused(found) == []
    assert licences.not_current(found, licences.PAGE.read_text(encoding="utf-8")) == []
    names = {one.name.lower() for one in found}
    assert {"torch", "ray", "transformers", "pyarrow", "jinja2", "numpy", "certifi"} <= names
    assert not {"pytest", "hypothesis", "mypy"} & {one.name.lower() for one in found if not one.through}


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "GNU Lesser General Public License v3", "AGPL-3.0", "unknown", "Commons Clause"]
)
def test_a_surprise_is_refused(licences, licence):
    assert licences.refused([licences.Package("x", "1", licence, "")]) == [f"x: {licence}"]


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0, BSD", "BSD-2-Clause OR GPL-3.0-only", "MPL-2.0, MIT"])
def test_permission_is_enough(licences, licence):
    assert licences.refused([licences.Package("x", "1", licence, "")]) == []


def test_a_change_is_noticed(licences):
    found = licences.packages()
    text = licences.page(found)
    assert licences.not_current(found, text) == []
    assert licences.not_current(found, text.replace(f"`{found[0].wanted}`", "`>=0`", 1)) != []
    assert licences.not_current(found[1:], text) != []
