"""Words that an engineer would not use of a program stand in no code and no page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT_OUT = ("anew", "brought", "heard", "likewise", "nobody", "thereof", "told", "whoever")
_WORDS = re.compile(rf"\b({'|'.join(KEPT_OUT)})\b", re.IGNORECASE)
PLACES = (
    "minidisc_ray/**/*.py",
    "minidisc_ray/**/*.jinja",
    "docs/**/*.md",
    "*.md",
    "cluster/**/*.md",
    "benchmarks/*.py",
    "examples/*",
    ".ci/*.py",
)


@pytest.mark.parametrize("pattern", PLACES)
def test_plain_english(pattern):
    files = sorted(ROOT.glob(pattern))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in _WORDS.finditer(line)
    ]
    assert not found
