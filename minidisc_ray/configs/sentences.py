"""A validation error as one sentence: the key, the value, what is allowed."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from minidisc_ray.configs import base
from minidisc_ray.configs.unions import allowed_keys, kinds_of, union_at, without_tags

_LONGEST_QUOTE = 80
# As recipes spell them.
_WORDS = {None: "null", True: "true", False: "false"}


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake that ``model`` found as one sentence; the rest are counted."""
    errors = error.errors()
    first = errors[0]
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "literal_error" and parts[-1].startswith("literal["):
        # A word or a truth value: pydantic tells of each apart.
        key, words = ".".join(without_tags(parts[:-1], model)), first["ctx"]["expected"]
        return f"{key}: {short(first['input'])} is not allowed; use {words}, true or false"
    key = ".".join(without_tags(parts, model))
    prefix = f"{key}: " if key else ""
    value = first.get("input")
    match first["type"]:
        case "extra_forbidden":
            allowed = allowed_keys(parts, model)
            text = f"{key}: unknown key; {'allowed here: ' + ', '.join(allowed) if allowed else 'remove it'}"
        case "missing":
            text = f"{key}: missing; {first['msg'].lower()}"
        case "union_tag_invalid" | "union_tag_not_found":
            tag = first.get("ctx", {}).get("tag", "missing")
            found = [kind for member in union_at(model, without_tags(parts, model)) for kind in kinds_of(member)]
            kinds = ", ".join(map(repr, dict.fromkeys(found)))
            text = f"{prefix.removesuffix(': ')}.kind: {tag} is not a kind; use {kinds}"
        case "model_attributes_type" | "model_type":
            text = f"{prefix}{short(value)} is not allowed; write a mapping{_for_example(parts, model)}"
        case base.TRUTH_FOR_NUMBER:
            text = f"{key}." * bool(key) + str(first["msg"])
        case "value_error":
            text = prefix + str(first["msg"]).removeprefix("Value error, ")
        case "bool_type" | "bool_parsing":
            text = f"{prefix}{short(value)} is not allowed; use true or false"
        case _:
            # Lists of YAML are tuples in a frozen config.
            reason = first["msg"][0].lower() + first["msg"][1:]
            text = f"{prefix}{short(value)} is not allowed; {reason.replace('tuple', 'list')}"
    # A list whose only part is wrong is reported as too short as well.
    more = sum(error["type"] != "too_short" for error in errors[1:])
    return text + (f" ({more} more mistake{'s' if more > 1 else ''} after this one)" if more else "")


def _for_example(parts: Sequence[str], model: type[BaseModel]) -> str:
    kinds = [kind for member in union_at(model, without_tags(parts, model)) for kind in kinds_of(member)]
    return f", for instance {{kind: {kinds[0]}}}" if kinds else ""


def short(value: Any) -> str:
    """A value as it is quoted, cut where it is long."""
    try:
        text = _WORDS[value] if value is None or isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):
        # Python writes out no integer of thousands of digits, and nothing of thousands of levels.
        text = f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
