"""Read a YAML recipe, apply ``--set`` overrides and check the result; every mistake is one sentence."""

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.messages import message_of, quoted
from minidisc_ray.configs.redact import is_secret_name
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.unions import kinds_of, union_at
from minidisc_ray.configs.yaml_text import load_yaml
from minidisc_ray.files.reading import NotAFileError, read_regular

TOO_DEEP = "nested too deeply: a recipe's keys are a handful of levels deep"
# A grid without a kind is known by its keys.
_GRIDS = {
    "values": "list",
    "count": "slices",
    "smallest_times": "times",
    "largest_times": "times",
    "num_candidates": "times",
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_RECIPE_BYTES = 100_000  # parsed within a second or two
_TOO_LARGE = 10**400  # Python refuses to print an integer of more than 4,300 digits
# Keys that two kinds share by name only: this kind computes the value, or gives it another meaning, so the value
# written for the other kind is dropped. MiniDisc's selection, for one, would turn MaxiDisc into an ablation.
_NOT_CARRIED_OVER = {
    "layers": {"scale_percent"},
    "checkpoint": {"scale_percent"},
    "law": {"assistant_percent"},
    "maxidisc": {"selection"},
}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe, apply ``key.sub=value`` overrides and check the result.

    Raises:
        UserError: if the file cannot be read, or a key or value is not allowed.
    """
    raw = read_yaml(Path(path), "recipe", "task, data and schedule")
    if "methods" in raw and "recipe" in raw:
        raise UserError(f"{path} is a study, with methods and a recipe that they share; use minidisc study")
    return resolve(raw, overrides)


def resolve(raw: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Apply overrides, expand ``${VARIABLES}`` and validate.

    Raises:
        UserError: naming the key, the value and what is allowed.
    """
    try:
        check_integers(raw)
        merged = deep_copy(raw)
        for override in overrides:
            apply_override(merged, override)
        _fill_kinds(merged)
        return RunConfig.model_validate(expand(merged, ""))
    except ValidationError as error:
        raise UserError(message_of(error, RunConfig)) from error
    except RecursionError as error:
        raise UserError(TOO_DEEP) from error


def read_yaml(path: Path, what: str, keys: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: of the file.
        what: the file should be, ``recipe`` or ``study``, for messages.
        keys: that such a file has, for messages.

    Raises:
        UserError: if it cannot be read, is not safe YAML without aliases, repeats a key, or is not a mapping.
    """
    try:
        text = read_regular(path, _MAX_RECIPE_BYTES, follow_link=True).decode()
    except NotAFileError as error:
        if error.errno == errno.EFBIG:
            raise UserError(f"{path}: larger than {_MAX_RECIPE_BYTES:,} bytes, which no {what} is") from error
        raise UserError(f"{path}: cannot be read as a {what} (a pipe or a device); give a file") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read as a {what} ({reason})") from error
    try:
        raw = load_yaml(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise UserError(f"{path}: a {what} is a mapping of keys such as {keys}")
    return raw


def apply_override(
    raw: dict[str, Any],
    override: str,
    in_recipe: Callable[[Sequence[str]], Sequence[str]] = lambda parts: parts,
) -> None:
    """Set ``key.sub=value`` in a raw recipe, or in a raw study, whose sections hold a recipe's keys.

    Args:
        raw: the mapping, changed in place.
        override: as after ``--set``.
        in_recipe: maps the parts of a key in ``raw`` to those of the key in a recipe.

    Raises:
        UserError: if it is not ``key.sub=value``, the value is not YAML, or the key leads through a value.
    """
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: write key.sub=value, for instance --set schedule.kind=maxidisc")
    try:
        value = load_yaml(text)
    except ValueError as error:
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
                f"--set {key}: {above} is {quoted(child)} in the recipe, not a mapping whose keys can be set; set "
                f"{above} as a whole"
            )
        node[part] = dict(child or {})
        node = node[part]
    if parts[-1] == "kind":
        keep_shared_keys(node, in_recipe(parts[:-1]), value)
    node[parts[-1]] = value


def keep_shared_keys(node: dict[str, Any], path: Sequence[str], kind: Any) -> None:
    """Drop from a section the keys that mean nothing with a new ``kind``, since only other kinds have them.

    This lets one recipe serve every schedule. Keys that no kind has stay, and validation refuses them.
    """
    members = {name: set(member.model_fields) for member in union_at(RunConfig, path) for name in kinds_of(member)}
    if not isinstance(kind, str) or kind not in members:
        return
    foreign = set().union(*members.values()) - members[kind]
    if node.get("kind") != kind:
        foreign |= _NOT_CARRIED_OVER.get(kind, set())
    for key in [key for key in node if key in foreign or _has_foreign_kind(node[key], (*path, key), kind)]:
        del node[key]


def _has_foreign_kind(value: Any, path: Sequence[str], kind: str) -> bool:
    """Whether a nested section's kind is allowed only under other kinds of the section above."""
    given = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(given, str):
        return False
    above = [member for member in union_at(RunConfig, path[:-1]) if kind in kinds_of(member)]
    allowed = {name for member in above for found in union_at(member, path[-1:]) for name in kinds_of(found)}
    known = {name for found in union_at(RunConfig, path) for name in kinds_of(found)}
    return bool(allowed) and given not in allowed and given in known


def _fill_kinds(raw: dict[str, Any]) -> None:
    """Fill in the default ``kind`` of each section that leaves it out."""
    defaults = RunConfig.model_construct()
    for section in ("task", "data", "teacher", "student", "schedule", "objective", "track"):
        given = raw.get(section)
        if isinstance(given, dict) and "kind" not in given:
            given["kind"] = getattr(defaults, section).kind
    schedule = raw.get("schedule")
    inner = [schedule.get(key) for key in ("match", "then")] if isinstance(schedule, dict) else []
    if isinstance(schedule, dict) and isinstance(then := schedule.get("then"), dict) and "kind" not in then:
        inner[1] = schedule["then"] = {"kind": "minidisc", "search": "race", "scales": {"kind": "times"}, **then}
    for given in (schedule, *inner):
        if isinstance(given, dict) and isinstance(selection := given.get("selection"), dict):
            selection.setdefault("kind", "lambda")
        if isinstance(given, dict) and isinstance(scales := given.get("scales"), dict):
            scales.setdefault("kind", next((kind for key, kind in _GRIDS.items() if key in scales), "step"))


def expand(value: Any, path: str) -> Any:
    """Expand ``${NAME}`` in strings, and read ``1e-4``, a string in YAML 1.1, as a number.

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
        if is_secret_name(name):
            raise UserError(
                f"{path}: the name of the variable {name} says that it is a secret, and a recipe is saved with its "
                "run; leave the secret in the environment, where libraries read it"
            )
        if not os.environ.get(name):
            raise UserError(f"{path}: {value} needs the environment variable {name}, which is not set; export it")
        return os.environ[name]

    return _number(_VARIABLE.sub(variable, value))


def check_integers(value: Any, path: str = "") -> None:
    """Refuse integers that Python cannot print, before any code prints its input.

    Raises:
        UserError: naming the key below ``path``.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_integers(key, f"{path}: a key" if path else "a key")
            check_integers(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            check_integers(item, path)
    elif isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise UserError(f"{path}: an integer of over 400 digits; no key takes a number so large")


def _number(text: str) -> Any:
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text) else text


def deep_copy(value: Any) -> Any:
    """Copy mappings and lists, nested ones too, as plain dicts and lists; other values are shared."""
    if isinstance(value, Mapping):
        return {key: deep_copy(item) for key, item in value.items()}
    return [deep_copy(item) for item in value] if isinstance(value, list | tuple) else value
