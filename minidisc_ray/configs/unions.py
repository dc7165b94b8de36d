"""Find the configs that are allowed at a key, and their kinds."""

import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def kinds_of(member: type[BaseModel]) -> tuple[str, ...]:
    """The values of a config's ``kind``; most configs have one."""
    return get_args(member.model_fields["kind"].annotation)


def union_at(model: type[BaseModel], path: Sequence[str]) -> list[type[BaseModel]]:
    """The configs with a ``kind`` that are allowed at a path of keys below a model."""
    members: list[type[BaseModel]] = [model]
    for part in path:
        members = members_at(members, part)
    return [member for member in members if "kind" in member.model_fields]


def members_at(members: Sequence[type[BaseModel]], part: str) -> list[type[BaseModel]]:
    """The configs allowed at a key of any of the given models; an index in a list stays at the same models."""
    if part.isdigit():
        return list(members)
    found = [member.model_fields[part].annotation for member in members if part in member.model_fields]
    return [leaf for annotation in found for leaf in models_in(annotation)]


def models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """The configs in a type annotation."""
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple):
        for argument in get_args(annotation):
            yield from models_in(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def without_tags(parts: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Drop pydantic's union tags (the kind's name) from an error's path."""
    return _followed(parts, model)[0]


def allowed_keys(parts: Sequence[str], model: type[BaseModel]) -> list[str]:
    """The keys allowed in the section of an error's path, sorted."""
    return sorted({name for member in _followed(parts[:-1], model)[1] for name in member.model_fields})


def _followed(parts: Sequence[str], model: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """The keys of an error's path, without union tags, and the configs at its end."""
    kept: list[str] = []
    members: list[type[BaseModel]] = [model]
    for part in parts:
        tagged = [member for member in members if "kind" in member.model_fields and part in kinds_of(member)]
        if len(members) > 1 and tagged:
            members = tagged
            continue
        kept.append(part)
        members = members_at(members, part)
    return kept, members
