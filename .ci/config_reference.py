"""Writes docs/reference/config.md: every key of a recipe and a study, from the pydantic models that read them.

python .ci/config_reference.py          # write the page
python .ci/config_reference.py --check  # fail if the page is not current
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.study.study import StudyConfig
from minidisc_ray.configs.unions import kinds_of, models_in

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "config.md"
HEAD = """\
# Every key of a recipe and of a study

Made by `python .ci/config_reference.py` from the models in `minidisc_ray/configs`; a test fails where it is not
current. A key that is not listed is an error. Where a section has a `kind`, that decides which of its tables holds.
`minidisc plan RECIPE` checks a recipe.

"""


def page() -> str:
    """The text of docs/reference/config.md."""
    parts = [HEAD.rstrip()]
    for title, model in (("A recipe", RunConfig), ("A study", StudyConfig)):
        parts += [f"## {title}", *_sections(model)]
    return "\n\n".join(parts) + "\n"


def _sections(root: type[BaseModel]) -> Iterator[str]:
    """A table of keys for each model, breadth first from the root; each model once."""
    yield _table(root)
    waiting, done = [("", root)], {root}
    while waiting:
        path, model = waiting.pop(0)
        for name, field in model.model_fields.items():
            if model is StudyConfig and name == "recipe":
                continue
            for inner in dict.fromkeys(models_in(field.annotation)):
                if inner in done:
                    continue
                done.add(inner)
                waiting.append((f"{path}{name}.", inner))
                kinds = [f"`{kind}`" for kind in kinds_of(inner)] if "kind" in inner.model_fields else []
                kind = f", kind {' or '.join(kinds)}" if kinds else ""
                summary = _one_line((inner.__doc__ or "").split("\n\n")[0])
                yield f"### `{path}{name}`{kind}\n\n{summary}"
                yield _table(inner)


def _table(model: type[BaseModel]) -> str:
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        takes = _takes(field)
        meaning = _one_line(field.description or ("its tables follow" if "section" in takes else ""))
        lines.append(f"| `{name}` | {_cell(takes)} | {_default(field)} | {_cell(meaning)} |")
    return "\n".join(lines)


def _takes(field: FieldInfo) -> str:
    """The type of a key in words, with its limits."""
    limits = [f"{sign} {value:,}" for sign, value in _limits(field.metadata)]
    return _type(field.annotation) + (f", {' and '.join(limits)}" if limits else "")


def _limits(metadata: list[Any]) -> Iterator[tuple[str, float]]:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        for entry in metadata:
            value = getattr(entry, name, None)
            if isinstance(value, int | float):
                yield sign, value


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(one) for one in arguments))
    if origin in (tuple, list, frozenset, set):
        return f"list of {_type(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping of names to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", NoneType: "`null`"}
    return names.get(annotation, "value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", None)
        return f"kind `{kind}`" if kind is not None else "the section's own"
    if isinstance(value, tuple | list | dict) and any(isinstance(one, BaseModel) for one in value):
        return "the section's own"
    return f"`{json.dumps(value, ensure_ascii=False, default=str)}`"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    text = page()
    if "--check" in arguments:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not current; python .ci/config_reference.py writes it\n")
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
