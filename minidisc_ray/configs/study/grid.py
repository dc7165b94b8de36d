"""A study's grid: the values of a recipe's keys that are searched, for every method alike."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.messages import quoted
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.unions import members_at

# Sections of a recipe that every method has and may change; all else is shared, or belongs to a schedule.
SEARCHED = ("distil", "sandwich", "objective")
_SOME_KEY = {"distil": "learning_rate", "sandwich": "learning_rate", "objective": "hidden_weight"}
# A value for each searched key.
Setting = dict[str, Any]


class StudyGridConfig(Config):
    """Values that are searched for each method, task and scale; the selection rows choose among them."""

    values: dict[str, tuple[Any, ...]] = Field(
        description="A list for each dotted key of distil, sandwich or objective; every combination is a setting."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="The seed that every setting runs with; by default the study's first."
    )

    @property
    def num_settings(self) -> int:
        """The number of combinations."""
        return math.prod(len(values) for values in self.values.values())

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every combination; the last key's value changes first."""
        return tuple(dict(zip(self.values, found, strict=True)) for found in itertools.product(*self.values.values()))

    @field_validator("values", mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        """Read ``{distil: {batch_size: [16, 32]}}``, as ``--set`` writes it, with a dotted key."""
        return dict(_flattened(values)) if isinstance(values, Mapping) else values

    @field_validator("values")
    @classmethod
    def _keys_exist(cls, values: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key in values:
            if (mistake := _mistake_in(key)) is not None:
                raise ValueError(f"{key}: {mistake}")
        return values

    @field_validator("values")
    @classmethod
    def _values_are_a_choice(cls, values: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, found in values.items():
            if not found:
                raise ValueError(f"{key}: the list is empty; give the values to be tried")
            for value in found:
                if not (value is None or isinstance(value, bool | int | float | str)):
                    raise ValueError(f"{key}: {quoted(value)} is not a single value; list numbers, words, or null")
            for first, second in itertools.combinations(found, 2):
                if _as_read(first) == _as_read(second):
                    pair = [quoted(first), quoted(second)]
                    twice = f"{pair[0]} is listed twice" if pair[0] == pair[1] else f"{' and '.join(pair)} are the same"
                    raise ValueError(f"{key}: {twice}; list each value once")
        if all(len(found) == 1 for found in values.values()):
            only = {key: found[0] for key, found in values.items()}
            given = f"the only setting is {setting_text(only)}" if only else "there are none"
            raise ValueError(f"{given}; give a key two values or more, or put them into recipe")
        return values


def setting_text(setting: Setting) -> str:
    """A setting in words: ``distil.learning_rate 0.0001, distil.batch_size 16``."""
    return ", ".join(f"{key} {value_text(value)}" for key, value in setting.items())


def values_text(setting: Setting) -> str:
    """The values alone, in the order of their keys: ``0.0001 / 16``."""
    return " / ".join(map(value_text, setting.values()))


def value_text(value: Any) -> str:
    """One value as a recipe would have it."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else quoted(value)


def _as_read(value: Any) -> Any:
    """A value as a recipe reads it: a number in quotes is that number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return ("bool", value) if isinstance(value, bool) else value


def _flattened(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[Any, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}" if above else key, value


def _mistake_in(key: str) -> str | None:
    """Why a dotted key cannot be searched, in words; None if it can."""
    parts = key.split(".")
    if parts[0] in RunConfig.model_fields and parts[0] not in SEARCHED:
        return f"a grid does not search {parts[0]}; use keys of {', '.join(SEARCHED[:-1])} or {SEARCHED[-1]}"
    members: list[Any] = [RunConfig]
    for place, part in enumerate(parts):
        known = SEARCHED if place == 0 else sorted({name for member in members for name in member.model_fields})
        if part not in known:
            return _unknown(parts[:place], part, parts[place + 1 :], known)
        members = members_at(members, part)
    return f"a section; name one of its keys, for instance {key}.{_SOME_KEY[key]}" if len(parts) == 1 else None


def _unknown(above: Sequence[str], part: str, below: Sequence[str], known: Sequence[str]) -> str:
    close = get_close_matches(part, known, 1)
    if close:
        return f"unknown key; did you mean {'.'.join([*above, close[0], *below])}?"
    return f"unknown key; allowed here: {', '.join('.'.join([*above, name]) for name in known) or 'nothing'}"
