"""Writes docs/licences.md: every package that a run needs, and its licence; refuses copyleft.

python .ci/licences.py          # write the page
python .ci/licences.py --check  # fail if the page is not current, or a licence is not allowed
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
# Pattern in the name of a licence -> its SPDX-like short name.
KNOWN = (
    (r"MPL[- ]?2|Mozilla Public License 2", "MPL-2.0"),
    (r"Apache", "Apache-2.0"),
    (r"BSD[- ]?2", "BSD-2-Clause"),
    (r"0?BSD", "BSD"),
    (r"\bMIT\b", "MIT"),
    (r"\bISC\b", "ISC"),
    (r"HPND|Historical Permission", "HPND"),
    (r"Unlicense", "Unlicense"),
    (r"PSF|Python Software Foundation|Python-2", "PSF-2.0"),
    (r"\bZlib\b", "Zlib"),
)
# GPL, LGPL and AGPL bind programs that use them; the Mozilla licence binds only its own files.
COPYLEFT = re.compile(
    r"\b[AL]?GPL|General Public License|EUPL|CC[- ]BY[- ](?:SA|NC)|SSPL|Commons Clause", re.IGNORECASE
)
HEAD = """\
# Licences

What a run needs, directly and through others, as `python .ci/licences.py` finds it installed; developers' tools are
not listed. None is copyleft (GPL, LGPL, AGPL): the tests refuse one that is. MPL-2.0 binds changes of those packages'
own files, of which there are none here. Builds of torch for GPUs bring NVIDIA's libraries, under NVIDIA's own licence;
the build listed here has none.

"""


class Package(NamedTuple):
    """One package; ``wanted`` is its range in pyproject.toml, or the installed version of an indirect dependency."""

    name: str
    wanted: str
    licence: str
    through: str


def packages() -> list[Package]:
    """Direct dependencies, then their own ones, each sorted by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {canonicalize_name(one.name): one for one in map(Requirement, project["dependencies"])}
    found = {
        name: Package(one.name, str(one.specifier), licence_of(distribution(name)), "")
        for name, one in sorted(direct.items())
    }
    waiting = [(one.name, one.extras) for _, one in sorted(direct.items())]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop(0)
        if (name, frozenset(extras)) in done:
            continue
        done.add((name, frozenset(extras)))
        for needed in _needs(name, extras):
            key = canonicalize_name(needed.name)
            try:
                installed = distribution(key)
            except PackageNotFoundError:
                continue
            found.setdefault(key, Package(installed.metadata["Name"], installed.version, licence_of(installed), name))
            waiting.append((needed.name, needed.extras))
    return sorted(found.values(), key=lambda one: (bool(one.through), canonicalize_name(one.name)))


def _needs(name: str, extras: set[str]) -> Iterator[Requirement]:
    for text in distribution(name).requires or ():
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield needed


def licence_of(found: Distribution) -> str:
    """The short name of the licence in a package's metadata; the full text of it if it is not in ``KNOWN``."""
    metadata = found.metadata
    classifiers = [
        text.rpartition("::")[2].strip() for text in metadata.get_all("Classifier") or () if "License ::" in text
    ]
    raw = metadata.get("License-Expression") or ""
    if not raw:
        raw = "; ".join(text for text in classifiers if text != "OSI Approved")
    if not raw:
        lines = (metadata.get("License") or "").strip().splitlines()
        raw = lines[0].strip() if lines else "unknown"
    if COPYLEFT.search(raw):
        return raw
    names = [short for pattern, short in KNOWN if re.search(pattern, raw, re.IGNORECASE)]
    if "BSD-2-Clause" in names:
        names.remove("BSD")
    return ", ".join(names) or raw


def refused(found: list[Package]) -> list[str]:
    """Packages whose licence is unknown, or copyleft without an alternative."""
    allowed = {short for _, short in KNOWN}
    bad = []
    for one in found:
        parts = re.split(r"\s+OR\s+", one.licence)
        if all(COPYLEFT.search(part) or not set(part.split(", ")) & allowed for part in parts):
            bad.append(f"{one.name}: {one.licence}")
    return bad


def page(found: list[Package]) -> str:
    """The text of docs/licences.md."""
    lines = [HEAD.rstrip(), "", "| package | version | licence | needed by |", "|---|---|---|---|"]
    lines += [f"| {one.name} | `{one.wanted}` | {one.licence} | {one.through or 'this package'} |" for one in found]
    return "\n".join(lines) + "\n"


def not_current(found: list[Package], text: str) -> list[str]:
    """Table rows of direct dependencies that differ from the page; indirect ones change too often to compare."""
    wanted = {f"| {one.name} | `{one.wanted}` | {one.licence} | this package |" for one in found if not one.through}
    written = {line for line in text.splitlines() if line.endswith("| this package |")}
    return sorted(wanted ^ written)


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    found = packages()
    if bad := refused(found):
        sys.stderr.write("licences that are not allowed: " + "; ".join(bad) + "\n")
        return 1
    if "--check" not in arguments:
        PAGE.write_text(page(found), encoding="utf-8")
        return 0
    differences = not_current(found, PAGE.read_text(encoding="utf-8"))
    if differences:
        sys.stderr.write(
            "docs/licences.md is not current; run python .ci/licences.py: " + "; ".join(differences) + "\n"
        )
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
