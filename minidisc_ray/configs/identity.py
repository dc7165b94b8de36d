"""What can change a run's numbers, and the names derived from it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.configs.redact import redact
from minidisc_ray.configs.run import RunConfig

# Raised by hand whenever the same config and data would give other numbers than before.
NUMERICS_VERSION = 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
# Devices in Windows, whatever ending they have; a shared file system may be one of its.
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
)
_NOT_IDENTITY = {"compute", "track", "storage", "name"}
# How often a stage writes checkpoints changes none of its numbers.
_NOT_TRAINING = {"checkpoint_steps"}
# Where rows and weights lie says nothing about what they are: their contents' digests stand for them. Nor does what
# stops a run, or under which licence its parts are, change the numbers of one that goes on.
_PLACES = {
    "data": {"folder", "train", "validation", "selection", "columns", "quoting", "license"},
    "teacher": {"path", "allow_at_chance", "license"},
    "student": {"path"},
}


def run_identity(config: RunConfig, contents: Mapping[str, str]) -> dict[str, Any]:
    """Everything that can change a run's numbers.

    Args:
        config: the resolved recipe.
        contents: digests of the rows (``data``), of the model's files (``teacher``), and of those of a student with a
            checkpoint of its own (``student``).
    """
    dumped = config.model_dump(mode="json", exclude=_NOT_IDENTITY)
    for section, keys in _PLACES.items():
        dumped[section] = {key: value for key, value in dumped[section].items() if key not in keys}
    if config.student.kind == "pruned":
        # Runs made when every student was pruned keep their names.
        del dumped["student"]["kind"]
    for section in ("data", "schedule", "objective", "pruning"):
        dumped[section] = _without_added(getattr(config, section), dumped[section])
    schedule = config.schedule
    dumped["schedule"] = _without_defaults(schedule, dumped["schedule"], schedule.keys_added_at_top)
    dumped["sandwich"] = config.sandwich_training.model_dump(mode="json")
    for stage in ("finetune", "sandwich", "distil"):
        dumped[stage] = {key: value for key, value in dumped[stage].items() if key not in _NOT_TRAINING}
    return {"numerics": NUMERICS_VERSION, "contents": dict(contents), **dumped}


def setting_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What runs have in common that stand in one comparison: neither the seed nor what is a method's own.

    How importance is measured is part of a method, as a race has a sample of its own for it; what ranking makes of it
    is not.
    """
    setting = {key: value for key, value in identity.items() if key not in ("seed", "schedule", "sandwich")}
    pruning = {key: value for key, value in identity["pruning"].items() if key != "importance"}
    return {**setting, "pruning": {**pruning, "importance_rows": None}}


def _without_added(value: Any, dumped: Any) -> Any:
    """A part of a recipe as JSON, without keys that were added to it and are at their defaults."""
    if isinstance(value, tuple):
        return [_without_added(one, part) for one, part in zip(value, dumped, strict=True)]
    if not isinstance(value, Config):
        return dumped
    inner = {key: _without_added(getattr(value, key), part) for key, part in dumped.items()}
    return _without_defaults(value, inner, value.keys_added)


def _without_defaults(value: Config, dumped: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    defaults = type(value).model_construct().model_dump(mode="json", include=set(keys))
    return {key: part for key, part in dumped.items() if key not in defaults or part != defaults[key]}


def without_student(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of an identity, the student's files no more among the contents: a teacher is the same for every student."""
    contents = {name: found for name, found in parts["contents"].items() if name != "student"}
    return {**parts, "contents": contents}


def digest(value: Any) -> str:
    """A short digest of anything that is JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def run_name(config: RunConfig, identity: Mapping[str, Any]) -> str:
    """The run's folder under the storage root: the user's name, or one derived from the config alone.

    Raises:
        UserError: if a name given by the user could leave the storage root or is not portable.
    """
    if config.name is not None:
        if not _NAME.fullmatch(config.name) or ".." in config.name:
            raise UserError(
                f"name: {config.name[:80]!r} is not a run's name; use letters, digits, dots, dashes and underscores, a "
                "letter or digit first"
            )
        if config.name.endswith(".") or config.name.split(".")[0].upper() in _RESERVED:
            raise UserError(f"name: {config.name!r} cannot be a folder's name on every system; choose another one")
        if redact(config.name) != config.name:
            raise UserError(
                f"name: {config.name!r} holds a secret, and names stand in every report; choose another one"
            )
        return config.name
    task = getattr(config.task, "name", config.task.kind)
    objective = "" if config.objective.kind == "ltsd" else f"{config.objective.kind}-"
    scale = config.student_percent
    return f"{task}-{config.schedule.kind}-{scale}pc-seed{config.seed}-{objective}{digest(identity)[:8]}"
