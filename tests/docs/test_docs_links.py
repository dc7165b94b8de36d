"""Links between pages lead somewhere, and so do the pages that code, recipes and messages name."""

import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "cluster/**/*.md", "examples/*.ipynb") for page in ROOT.glob(pattern)
)
_ELSEWHERE = re.compile(r"[a-z]+:")
_NAMED = re.compile(r"\bdocs/[\w./-]+\.md\b")


def test_every_link_leads_to_a_file_and_a_heading():
    broken = [
        f"{page.relative_to(ROOT)}: {target}" for page in PAGES for target in links_of(page) if not leads(page, target)
    ]
    assert not broken


@pytest.mark.parametrize(
    ("target", "is_there"),
    [
        ("docs/architecture.md", True),
        ("docs/architecture.md#the-main-flow", True),
        ("docs/results.md#2026-11-21", True),
        ("docs/architecture.md#no-such-heading", False),
        ("docs/no_such_page.md", False),
        ("minidisc_ray", True),
    ],
)
def test_a_broken_link_is_seen(target, is_there):
    assert leads(ROOT / "README.md", target) is is_there


@pytest.mark.parametrize(
    "pattern",
    ["minidisc_ray/**/*.py", "recipes/*.yaml", "studies/*.yaml", "benchmarks/*.py", "cluster/*.*", ".ci/*", "*.toml"],
)
def test_every_page_that_is_named_is_there(pattern):
    files = [path for path in ROOT.glob(pattern) if path.is_file()]
    assert files
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in _NAMED.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).is_file()
    ]
    assert not missing


def leads(page: Path, target: str) -> bool:
    """Whether a relative link leads to something that is in this repository."""
    path, _, anchor = target.partition("#")
    place = (page.parent / path).resolve() if path else page
    if not place.is_relative_to(ROOT) or not place.exists():
        return False
    return not anchor or (place.suffix == ".md" and anchor in anchors_of(place))


def links_of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    inline = [child for token in MarkdownIt().parse(text) for child in token.children or ()]
    # markdown-it reads no tables by default, but the links in them all the same.
    targets = [str(child.attrs["href"]) for child in inline if child.type == "link_open"]
    return [target for target in targets if not _ELSEWHERE.match(target)]


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """What GitHub makes of headings: lower case, without punctuation, hyphens for spaces; repeated ones are counted."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)
