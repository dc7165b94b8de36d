"""The base of every config: frozen, closed to unknown keys, values that are finite."""

import types
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.redact import redact

TRUTH_FOR_NUMBER = "truth_for_number"
_LONGEST_SENTENCE = 2000


class Config(BaseModel):
    """A part of a recipe; unknown keys are errors, so that a typo is never a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
    # Keys that came after runs had names: at their defaults they are no part of a name, so that names stay.
    keys_added: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, given: Any) -> Any:
        """``yes`` and ``true`` would pass as 1 where a number belongs."""
        for name, value in given.items() if isinstance(given, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and _is_numeric(field.annotation):
                raise PydanticCustomError(TRUTH_FOR_NUMBER, f"{name}: {str(value).lower()} is not a number")
        return given


class UserError(ValueError):
    """A user's mistake in one sentence: the key, the value, what is allowed, the next step.

    Whatever it quotes, it is one printable line of a length that can be read, and has no secret in it.

    Example:
        >>> plan({"task": "builtin", "sead": 1})
        Traceback (most recent call last):
            ...
        minidisc_ray.configs.base.UserError: sead: unknown key; allowed here: compute, data, ...
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(_one_line(redact(sentence)))


def _one_line(text: str) -> str:
    if len(text) > _LONGEST_SENTENCE:
        half = _LONGEST_SENTENCE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    if text.isprintable():
        return text
    return printable(" ".join(text.splitlines()), kept="")


def _is_numeric(annotation: Any) -> bool:
    """Whether a field holds a number and no truth value."""
    if get_origin(annotation) is Annotated:
        return _is_numeric(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return bool not in members and any(_is_numeric(member) for member in members)
    return annotation in (int, float)


def first_line(error: BaseException) -> str:
    """What an error says first, or its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
