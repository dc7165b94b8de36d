"""Turn a validation error into one sentence: the key, the value, what is allowed."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from minidisc_ray.configs import base
from minidisc_ray.configs.unions import allowed_keys, kinds_of, union_at, without_tags

_MAX_QUOTED = 80
_YAML_WORDS = {None: "null", True: "true", False: "false"}


def message_of(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake that ``model`` found, as one sentence that counts the others."""
    errors = error.errors()
    first = errors[0]
    if first["type"] == "missing":
        # A key with a typo is both: missing, and unknown as it is written.
        same = [each for each in errors if each["loc"][:-1] == first["loc"][:-1]]
        first = next((each for each in same if each["type"] == "extra_forbidden"), first)
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "literal_error" and parts[-1].startswith("literal["):
        # A union of words and bool: pydantic reports an error for each.
        key, words = ".".join(without_tags(parts[:-1], model)), first["ctx"]["expected"]
        return f"{key}: {quoted(first['input'])} is not allowed; use {words}, true or false"
    path = without_tags(parts, model)
    key = ".".join(path)
    kinds = list(dict.fromkeys(kind for member in union_at(model, path) for kind in kinds_of(member)))
    prefix = f"{key}: " if key else ""
    value = first.get("input")
    match first["type"]:
        case "extra_forbidden":
            allowed = allowed_keys(parts, model)
            text = f"{key}: unknown key{_other_kinds(path, model)}; "
            text += f"allowed here: {', '.join(allowed)}" if allowed else "remove it"
        case "missing":
            text = f"{key}: missing; {first['msg'].lower()}"
        case "union_tag_invalid" | "union_tag_not_found":
            tag = first.get("ctx", {}).get("tag", "missing")
            text = f"{key}.kind: {tag} is not a kind; use {', '.join(map(repr, kinds))}"
        case "model_attributes_type" | "model_type":
            example = f", for instance {{kind: {kinds[0]}}}" if kinds else ""
            text = f"{prefix}{quoted(value)} is not allowed; write a mapping{example}"
        case base.BOOL_FOR_NUMBER:
            text = f"{key}." * bool(key) + str(first["msg"])
        case "value_error":
            text = prefix + str(first["msg"]).removeprefix("Value error, ")
        case "bool_type" | "bool_parsing":
            text = f"{prefix}{quoted(value)} is not allowed; use true or false"
        case _:
            # A list in YAML is a tuple in a frozen config.
            reason = first["msg"][0].lower() + first["msg"][1:]
            text = f"{prefix}{quoted(value)} is not allowed; {reason.replace('tuple', 'list')}"
    # pydantic also reports a list as too short whose only item is wrong.
    more = sum(error["type"] != "too_short" for error in errors[1:])
    return text + (f" ({more} more mistake{'s' if more > 1 else ''} after this one)" if more else "")


def _other_kinds(path: Sequence[str], model: type[BaseModel]) -> str:
    """A clause on the kinds of the section that have the key; empty if none has."""
    kinds = [kind for one in union_at(model, path[:-1]) if path[-1] in one.model_fields for kind in kinds_of(one)]
    return f" of this kind, but one of {', '.join(kinds)}" if kinds else ""


def quoted(value: Any) -> str:
    """A value as a message quotes it, cut if it is long."""
    try:
        text = _YAML_WORDS[value] if value is None or isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):
        # repr refuses integers of thousands of digits, and values nested thousands of levels deep.
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."
