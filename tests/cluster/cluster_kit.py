"""The files of ``cluster/`` as data, the commands of its README, and schemas that forgive no typo."""

import copy
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
RAY_VERSION = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE).group(1)
_SCHEMA_MAPS = ("properties", "patternProperties", "definitions", "$defs")


def load(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def load_all(name: str) -> list[Any]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text(encoding="utf-8")))


def changed(config: Any, path: str, value: Any) -> Any:
    """A copy with one key set, ``a.0.b``; a key that is not there is added."""
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    node = config
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = value
    return config


def patched(config: Any, patch: list[dict[str, Any]]) -> Any:
    """A copy after a JSON patch, which adds, replaces and removes keys; what it replaces or removes must be there."""
    config = copy.deepcopy(config)
    for step in patch:
        *parents, last = step["path"].replace("/", "", 1).split("/")
        node = config
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        if step["op"] != "add":
            del node[last]
        if step["op"] != "remove":
            node[last] = step["value"]
    return config


def strict(schema: Any) -> Any:
    """A copy of a JSON schema that admits listed properties alone, wherever it lists some and says no other."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: strict(entry) for name, entry in value.items()}
        if key in _SCHEMA_MAPS and isinstance(value, dict)
        else strict(value)
        for key, value in schema.items()
    }
    is_open = "additionalProperties" in made or made.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(made.get("properties"), dict) and not is_open:
        made["additionalProperties"] = False
    return made


def crd_schema(kind: str) -> dict[str, Any]:
    """KubeRay's own schema of a kind, made strict, from the folder that ``MINIDISC_SCHEMAS`` names."""
    data = os.environ.get("MINIDISC_DATA")
    folder = Path(os.environ.get("MINIDISC_SCHEMAS") or (f"{data}/../schemas" if data else "schemas"))
    file = folder / f"ray.io_{kind.lower()}s.yaml"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {folder}: set MINIDISC_SCHEMAS to a folder with KubeRay's resource definitions")
    definition = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    # Kubernetes checks an object's own metadata itself.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


@dataclass(frozen=True)
class Command:
    """One simple command of a page, where it stands and its words."""

    section: str
    words: tuple[str, ...]


def code_blocks(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Sections of a page with the lines of each of their indented blocks; continued lines are one."""
    section, block = "", []
    for line in [*page.read_text(encoding="utf-8").replace(" \\\n", " ").splitlines(), "# end"]:
        if line.startswith("    "):
            block.append(line.strip())
            continue
        if block and line.strip():
            yield section, block
            block = []
        if line.startswith("#"):
            section = line.lstrip("# ")


def commands(page: Path) -> list[Command]:
    """Every simple command of a page's blocks; those inside quotes, ``$(...)`` and after ``--`` are commands too."""
    found: list[Command] = []
    for section, block in code_blocks(page):
        for line in block:
            if not line.startswith("#"):
                found += [Command(section, words) for words in _simple(line)]
    return found


def _simple(line: str) -> Iterator[tuple[str, ...]]:
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from _simple(inner)
    line = re.sub(r"\$\([^()]*\)", "VALUE", line)
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if words[-1:] == [">"]:
            words.pop()
        elif word in {"&&", "||", "|", ";", "(", ")", "do", "done"}:
            if words:
                yield from _with_inner(tuple(words))
            words = []
        else:
            words.append(word)


def _with_inner(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if "--" in words:
        place = words.index("--")
        yield words[: place + 1]
        yield from _with_inner(words[place + 1 :])
        return
    yield words
    for word in words[1:]:
        if " " in word and words[0] in {"ray", "ssh"}:
            yield from _simple(word)
