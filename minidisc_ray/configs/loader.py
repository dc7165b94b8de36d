"""From a YAML file and ``--set`` overrides to a checked config; every mistake is one sentence."""

import os
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from minidisc_ray.configs import base
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_RECIPE_BYTES = 1_000_000
_LONGEST_QUOTE = 80
# A key that two kinds share by name, though one of them works it out, or means another thing by it: what was written
# for the other says nothing. MiniDisc's trade-off would make of MaxiDisc an ablation between the two.
_WORKED_OUT = {
    "layers": {"scale_percent"},
    "checkpoint": {"scale_percent"},
    "law": {"assistant_percent"},
    "maxidisc": {"selection"},
}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe, apply ``key.sub=value`` overrides and check the whole.

    Raises:
        UserError: if the file cannot be read, or a key or value is not allowed.
    """
    return resolve(read_yaml(Path(path), "recipe", "task, data and schedule"), overrides)


def resolve(raw: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Apply overrides, expand ``${VARIABLES}`` and validate.

    Raises:
        UserError: naming the key, the value and what is allowed.
    """
    merged = deep_copy(raw)
    for override in overrides:
        apply_override(merged, override)
    _fill_kinds(merged)
    try:
        return RunConfig.model_validate(expand(merged, ""))
    except ValidationError as error:
        raise UserError(sentence(error)) from error


def read_yaml(path: Path, what: str, keys: str) -> dict[str, Any]:
    """A file's mapping; ``what`` it should be, and ``keys`` that such a one has, are for the sentence of a mistake.

    Raises:
        UserError: if it cannot be read, is not safe YAML without aliases, repeats a key, or is no mapping.
    """
    try:
        if path.stat().st_size > _MAX_RECIPE_BYTES:
            raise UserError(f"{path}: larger than {_MAX_RECIPE_BYTES:,} bytes, which no {what} is")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a {what} ({_reason(error)})") from error
    try:
        raw = _RecipeLoader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML ({_reason(error)})") from error
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise UserError(f"{path}: a {what} is a mapping of keys such as {keys}")
    return raw


class _RecipeLoader(yaml.SafeLoader):
    """Safe YAML without aliases, in which a key that stands twice is a mistake, not the last one's victory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few lines of aliases can stand for billions of values, or for themselves.
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not used here; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def apply_override(
    raw: dict[str, Any],
    override: str,
    in_recipe: Callable[[Sequence[str]], Sequence[str]] = lambda parts: parts,
) -> None:
    """Set ``key.sub=value`` in a raw recipe, or in something that holds recipes' keys further down.

    Args:
        raw: what is changed in place.
        override: as after ``--set``.
        in_recipe: from the parts of a key to those that it has within a recipe.

    Raises:
        UserError: if it is not ``key.sub=value``, the value is not YAML, or the key leads through a value.
    """
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: write key.sub=value, for instance --set schedule.kind=maxidisc")
    try:
        value = _RecipeLoader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"--set {key}: {text!r} is not a YAML value") from error
    if isinstance(value, str):
        value = _number(value)
    node = raw
    for part in parts[:-1]:
        child = node.get(part)
        if part == "task" and isinstance(child, str):
            child = {"kind": "glue", "name": child}
        if child is not None and not isinstance(child, Mapping):
            above = key[: key.index(part) + len(part)]
            raise UserError(
                f"--set {key}: {above} is {_short(child)} in the recipe, not a mapping whose keys can be set; set "
                f"{above} as a whole"
            )
        node[part] = dict(child or {})
        node = node[part]
    if parts[-1] == "kind":
        keep_shared_keys(node, in_recipe(parts[:-1]), value)
    node[parts[-1]] = value


def keep_shared_keys(node: dict[str, Any], path: Sequence[str], kind: Any) -> None:
    """With another ``kind``, drop the keys that only other kinds have: they would mean nothing.

    So one recipe serves every schedule; keys that no kind has stay, and are refused as unknown.
    """
    members = {name: set(member.model_fields) for member in _union_at(RunConfig, path) for name in _kinds_of(member)}
    if not isinstance(kind, str) or kind not in members:
        return
    foreign = set().union(*members.values()) - members[kind]
    if node.get("kind") != kind:
        foreign |= _WORKED_OUT.get(kind, set())
    for key in [key for key in node if key in foreign]:
        del node[key]


def _fill_kinds(raw: dict[str, Any]) -> None:
    """A section that leaves out its ``kind`` is of the default one, as if it had been left out itself."""
    defaults = RunConfig.model_construct()
    for section in ("task", "data", "teacher", "student", "schedule", "objective"):
        given = raw.get(section)
        if isinstance(given, dict) and "kind" not in given:
            given["kind"] = getattr(defaults, section).kind
    schedule = raw.get("schedule")
    match = schedule.get("match") if isinstance(schedule, dict) else None
    for given in (schedule, match):
        if isinstance(given, dict) and isinstance(selection := given.get("selection"), dict):
            selection.setdefault("kind", "lambda")
        if isinstance(given, dict) and isinstance(scales := given.get("scales"), dict):
            scales.setdefault("kind", "step")


def _kinds_of(member: type[BaseModel]) -> tuple[str, ...]:
    """The kinds that a config stands for, mostly one."""
    return get_args(member.model_fields["kind"].annotation)


def _union_at(model: type[BaseModel], path: Sequence[str]) -> list[type[BaseModel]]:
    members: list[type[BaseModel]] = [model]
    for part in path:
        members = _members_at(members, part)
    return [member for member in members if "kind" in member.model_fields]


def _members_at(members: Sequence[type[BaseModel]], part: str) -> list[type[BaseModel]]:
    """The models that a key of some models may hold; a place in a list leads nowhere else."""
    if part.isdigit():
        return list(members)
    found = [member.model_fields[part].annotation for member in members if part in member.model_fields]
    return [leaf for annotation in found for leaf in _models_in(annotation)]


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple):
        for argument in get_args(annotation):
            yield from _models_in(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def expand(value: Any, path: str) -> Any:
    """Expand ``${NAME}`` in strings; YAML's ``1e-4`` (a string in YAML 1.1) becomes a number.

    Raises:
        UserError: naming the key below ``path`` and the variable that is not set.
    """
    if isinstance(value, Mapping):
        return {key: expand(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item, path) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if not os.environ.get(name):
            raise UserError(f"{path}: {value} needs the environment variable {name}, which is not set; export it")
        return os.environ[name]

    return _number(_VARIABLE.sub(variable, value))


def _number(text: str) -> Any:
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text) else text


def deep_copy(value: Any) -> Any:
    """Mappings and lists anew, so that a change of one never shows in the other."""
    if isinstance(value, Mapping):
        return {key: deep_copy(item) for key, item in value.items()}
    return [deep_copy(item) for item in value] if isinstance(value, list | tuple) else value


def sentence(error: ValidationError, model: type[BaseModel] = RunConfig) -> str:
    """The first mistake that ``model`` found as one sentence; the rest are counted."""
    errors = error.errors()
    first = errors[0]
    parts = [str(part) for part in first["loc"]]
    key = ".".join(_without_tags(parts, model))
    prefix = f"{key}: " if key else ""
    value = first.get("input")
    match first["type"]:
        case "extra_forbidden":
            allowed = _allowed_keys(parts, model)
            text = f"{key}: unknown key; {'allowed here: ' + ', '.join(allowed) if allowed else 'remove it'}"
        case "missing":
            text = f"{key}: missing; {first['msg'].lower()}"
        case "union_tag_invalid" | "union_tag_not_found":
            tag = first.get("ctx", {}).get("tag", "missing")
            kinds = ", ".join(
                repr(kind) for member in _union_at(model, _without_tags(parts, model)) for kind in _kinds_of(member)
            )
            text = f"{prefix.removesuffix(': ')}.kind: {tag} is not a kind; use {kinds}"
        case "model_attributes_type" | "model_type":
            text = f"{prefix}{_short(value)} is not allowed; write a mapping{_for_example(parts, model)}"
        case base.TRUTH_FOR_NUMBER:
            text = f"{key}." * bool(key) + str(first["msg"])
        case "value_error":
            text = prefix + str(first["msg"]).removeprefix("Value error, ")
        case _:
            # Lists of YAML are tuples in a frozen config.
            reason = first["msg"][0].lower() + first["msg"][1:]
            text = f"{prefix}{_short(value)} is not allowed; {reason.replace('tuple', 'list')}"
    # A list whose only part is wrong is told to be too short as well.
    more = sum(error["type"] != "too_short" for error in errors[1:])
    return text + (f" ({more} more mistake{'s' if more > 1 else ''} after this one)" if more else "")


def _for_example(parts: Sequence[str], model: type[BaseModel]) -> str:
    kinds = [kind for member in _union_at(model, _without_tags(parts, model)) for kind in _kinds_of(member)]
    return f", for instance {{kind: {kinds[0]}}}" if kinds else ""


def _without_tags(parts: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Drop pydantic's union tags (the kind's name) from an error's path."""
    kept: list[str] = []
    members: list[type[BaseModel]] = [model]
    for part in parts:
        tagged = [member for member in members if "kind" in member.model_fields and part in _kinds_of(member)]
        if len(members) > 1 and tagged:
            members = tagged
            continue
        kept.append(part)
        members = _members_at(members, part)
    return kept


def _allowed_keys(parts: Sequence[str], model: type[BaseModel]) -> list[str]:
    members: list[type[BaseModel]] = [model]
    for part in parts[:-1]:
        tagged = [member for member in members if "kind" in member.model_fields and part in _kinds_of(member)]
        if tagged:
            members = tagged
            continue
        members = _members_at(members, part)
    return sorted({name for member in members for name in member.model_fields})


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
