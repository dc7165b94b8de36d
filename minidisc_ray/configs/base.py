"""The base class of every config (frozen, no unknown keys, finite numbers), and the error for a user's mistake."""

import types
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.redact import redact

BOOL_FOR_NUMBER = "bool_for_number"
_MAX_CHARACTERS = 2000


class Config(BaseModel):
    """A section of a recipe; an unknown key is an error, so that a typo never leaves a default in place."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
    # Keys added after the first runs: a run's identity leaves them out at their default, so older runs keep their name.
    keys_added: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _no_bool_for_numbers(cls, given: Any) -> Any:
        """Refuse ``yes`` and ``true`` for a number: pydantic would read them as 1."""
        for name, value in given.items() if isinstance(given, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and _is_numeric(field.annotation):
                others = [*_words_of(field.annotation), *(["null"] if _allows_none(field.annotation) else [])]
                hint = f"; use a number, or {' or '.join(others)}" if others else ""
                raise PydanticCustomError(BOOL_FOR_NUMBER, f"{name}: {str(value).lower()} is not a number{hint}")
        return given


class UserError(ValueError):
    """A user's mistake in one sentence: the key, the value, what is allowed, the next step.

    The message is one printable line of about 2,000 characters at most; secrets in it are masked.

    Example:
        >>> plan({"task": "builtin", "sead": 1})
        Traceback (most recent call last):
            ...
        minidisc_ray.configs.base.UserError: sead: unknown key; allowed here: compute, data, ...
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(_one_line(redact(sentence)))


def _one_line(text: str) -> str:
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return printable(" ".join(text.splitlines()), kept="")


def _is_numeric(annotation: Any) -> bool:
    """Whether a field takes a number, and no bool."""
    if get_origin(annotation) is Annotated:
        return _is_numeric(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return bool not in members and any(_is_numeric(member) for member in members)
    if get_origin(annotation) is Literal:
        return all(type(allowed) is int for allowed in get_args(annotation))
    return annotation in (int, float)


def _members(annotation: Any) -> list[Any]:
    """The types of a union, however nested; of any other annotation itself."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [leaf for member in get_args(annotation) for leaf in _members(member)]
    return [annotation]


def _words_of(annotation: Any) -> list[str]:
    """The words that a field takes beside numbers."""
    literals = [member for member in _members(annotation) if get_origin(member) is Literal]
    return [word for literal in literals for word in get_args(literal) if isinstance(word, str)]


def _allows_none(annotation: Any) -> bool:
    return type(None) in _members(annotation)


def text_of(error: BaseException) -> str:
    """An error's message; of one that was raised with several texts, as Arrow's are, these and not their tuple."""
    parts = error.args
    return "; ".join(parts) if len(parts) > 1 and all(isinstance(part, str) for part in parts) else str(error)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters; its type's name if the message is empty."""
    text = text_of(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
