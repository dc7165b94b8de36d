"""The architecture page names what is there, and all of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minidisc_ray"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


@pytest.mark.parametrize(
    "folder", [path for path in FOLDERS if path.parts[0] != "reports" or len(path.parts) == 1], ids=str
)
def test_every_folder_has_a_line(folder):
    assert re.search(rf"^\| `{folder}/` \| \S", PAGE, re.MULTILINE), folder


def test_every_report_has_a_word():
    for folder in (path for path in FOLDERS if path.parts[0] == "reports" and len(path.parts) > 1):
        assert f"`{folder.name}/`" in PAGE, folder


def test_every_file_that_is_named_is_there():
    named = set(re.findall(r"\b((?:[a-z_]+/)+[a-z_]+\.py)\b", PAGE))
    assert len(named) > 20
    missing = {path for path in named if not (PACKAGE / path).is_file() and not (ROOT / path).is_file()}
    assert not missing
