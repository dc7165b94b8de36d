"""Writes docs/reference/api.md: the public Python API, from signatures and docstrings.

python .ci/api_reference.py          # write the page
python .ci/api_reference.py --check  # fail if the page is not current
"""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import minidisc_ray

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "api.md"
# Examples use these names, and the run that the example of ``run`` creates.
SETUP = """\
import itertools

import pandas

from minidisc_ray import RunConfig, RunResult, UserError, compare, evaluate, observe, open_family, plan, predict, run
from minidisc_ray.api import (
    dataset_features,
    export,
    extract,
    importance,
    profile,
    push,
    read_observations,
    recommend,
)

recipe = {
    "task": "builtin",
    "data": {"train_rows": 400, "validation_rows": 200},
    "schedule": {"kind": "minidisc", "scales": [60, 30], "num_sampled": 3},
    "finetune": {"num_epochs": 6, "learning_rate": 2e-3},
    "distil": {"num_epochs": 2, "learning_rate": 1e-3},
    "storage": "runs",
    "name": "first",
}

# Observations of two other tasks, 12 pipelines of Distiller each.
parts = itertools.product(("rte", "mrpc"), ("mse", "pkd", "cosine"), ("skip", "last"), ("ce", "mse"))
names = ["task", "intermediate_loss", "intermediate_strategy", "prediction_loss"]
earlier = pandas.DataFrame(parts, columns=names).assign(source="others", schema_version=1)
earlier = earlier.assign(student="small", teacher="large", num_examples=2500)
effects = {"mse": 0.00, "pkd": 0.04, "cosine": 0.08, "skip": 0.00, "last": 0.01}
found = earlier["intermediate_loss"].map(effects) + earlier["intermediate_strategy"].map(effects)
found += 0.03 * (earlier["prediction_loss"] == "mse")
earlier.assign(score=0.7 + found, ratio_to_teacher=0.8 + found).to_parquet("earlier.parquet")
"""
HEAD = """\
# Python

Made by `python .ci/api_reference.py` from signatures and docstrings; a test runs every example and fails where the page
is not current. All examples start from this, and run in one folder:

{setup}

`Recipe` is a `RunConfig`, a mapping, or a recipe file's path; its keys are in [config.md](config.md). `Watch` is a
function that is called with the progress of a run's trials. Folders of runs and students may be in a bucket, as
`s3://` or `gs://` URIs.

"""
# In the order of use.
FRONT = (
    "plan",
    "run",
    "compare",
    "predict",
    "evaluate",
    "open_family",
    "observe",
    "RunConfig",
    "RunResult",
    "UserError",
)
FURTHER = (
    "export",
    "extract",
    "push",
    "profile",
    "read_observations",
    "dataset_features",
    "importance",
    "Importance",
    "TaskImportance",
    "recommend",
    "Recommendation",
    "Recommended",
)
_SECTION = re.compile(r"^(Args|Attributes|Example|Raises|Returns):$", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+): ", re.MULTILINE)
_WIDTH = 110


def page() -> str:
    """The text of docs/reference/api.md."""
    parts = [HEAD.format(setup=_code(SETUP.rstrip())).rstrip()]
    for home, names in (("minidisc_ray", FRONT), ("minidisc_ray.api", FURTHER)):
        parts.append(f"## `{home}`")
        for name in names:
            parts += _entry(name, getattr(importlib.import_module(home), name))
    return "\n\n".join(parts) + "\n"


def documented() -> dict[str, Any]:
    """The objects that the page describes, by name."""
    front = {name: getattr(minidisc_ray, name) for name in FRONT}
    return front | {name: getattr(importlib.import_module("minidisc_ray.api"), name) for name in FURTHER}


def _entry(name: str, offered: Any) -> Iterator[str]:
    yield f"### `{name}`"
    if inspect.isfunction(offered):
        yield _code(signature_of(offered))
    sections = sections_of(offered)
    yield sections[""].replace("``", "`")
    for title in ("Args", "Attributes", "Raises"):
        if title in sections:
            entries = _ENTRY.split(sections[title])[1:]
            lines = [f"- `{key}`: {_one_line(text)}" for key, text in zip(entries[::2], entries[1::2], strict=True)]
            yield "\n".join(["Raises:", "", *lines] if title == "Raises" else lines)
    if inspect.isclass(offered) and issubclass(offered, BaseModel) and offered is not minidisc_ray.RunConfig:
        yield _fields(offered)
    yield _code(sections["Example"])


def signature_of(function: Any) -> str:
    """A function's signature as in its source, on several lines if it is too long for one."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    assert node.returns is not None
    arguments, returns = list(_arguments(node.args)), ast.unparse(node.returns)
    line = f"{node.name}({', '.join(arguments)}) -> {returns}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{node.name}(", *(f"    {argument}," for argument in arguments), f") -> {returns}"])


def _arguments(node: ast.arguments) -> Iterator[str]:
    without = len(node.args) - len(node.defaults)
    for argument, default in zip(node.args, (*[None] * without, *node.defaults), strict=True):
        yield ast.unparse(argument) + ("" if default is None else f" = {ast.unparse(default)}".replace("'", '"'))


def sections_of(offered: Any) -> dict[str, str]:
    """The sections of a docstring by title; the text before the first one has the title "".

    Raises:
        ValueError: if there is no example.
    """
    parts = _SECTION.split(inspect.getdoc(offered) or "")
    found = {"": parts[0].strip()}
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        found[title] = textwrap.dedent(text.strip("\n")).rstrip()
    if ">>> " not in found.get("Example", ""):
        raise ValueError(f"{offered.__name__} has no example in its docstring")
    return found


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _fields(model: type[BaseModel]) -> str:
    lines = ["| field | type | |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        kind = inspect.formatannotation(field.annotation).replace("minidisc_ray.", "")
        kind = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", kind).replace("|", "\\|")
        lines.append(f"| `{name}` | `{kind}` | {_one_line(field.description or '')} |")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("``", "`")


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    text = page()
    if "--check" in arguments:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{PAGE.relative_to(ROOT)} is not current; python .ci/api_reference.py writes it\n")
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
