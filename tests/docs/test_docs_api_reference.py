"""The reference of the Python API is what signatures and docstrings say, and has all that the package exports."""

import importlib.util
from pathlib import Path

import pytest

import minidisc_ray

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("api_reference", ROOT / ".ci" / "api_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(reference):
    assert reference.main(["--check"]) == 0, "python .ci/api_reference.py writes it"


def test_all_that_is_exported_is_there(reference):
    assert sorted(reference.FRONT) == sorted(minidisc_ray.__all__)
    text = reference.page()
    for name in (*reference.FRONT, *reference.FURTHER):
        assert f"\n### `{name}`\n" in text


def test_a_signature_has_types_and_defaults(reference):
    assert reference.signature_of(minidisc_ray.plan) == (
        "plan(recipe: Recipe, overrides: Sequence[str] = ()) -> PreparedRun"
    )


def test_what_has_no_example_is_refused(reference):
    def bare() -> None:
        """Says what it does, and shows nothing."""

    with pytest.raises(ValueError, match="bare has no example"):
        reference.sections_of(bare)


def test_a_change_is_noticed(reference, tmp_path, monkeypatch, capsys):
    stale = tmp_path / "api.md"
    stale.write_text(reference.page().replace("PreparedRun", "Prepared"))
    monkeypatch.setattr(reference, "PAGE", stale)
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "api.md is not current" in capsys.readouterr().err
