"""A run's identity (everything that can change its numbers), and the names and digests made from it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.configs.redact import redact
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.task import GlueTaskConfig

# Raise it by hand when a code change gives other numbers for the same config and data.
NUMERICS_VERSION = 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
# Device names on Windows, with any extension: a shared file system may be a Windows one.
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
)
_SECTIONS_LEFT_OUT = {"compute", "track", "storage", "name"}
# Checkpoints do not change a stage's numbers.
_STAGE_KEYS_LEFT_OUT = {"checkpoint_steps"}
# Paths and ways to read files: the identity has digests of the contents instead. Licences, a task's description, and
# whether a run stops at a teacher at chance, do not change its numbers.
_KEYS_LEFT_OUT = {
    "task": {"description"},
    "data": {"folder", "train", "validation", "selection", "columns", "quoting", "license"},
    "teacher": {"path", "allow_at_chance", "license"},
    "student": {"path"},
}


def run_identity(config: RunConfig, contents: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that can change a run's numbers, as JSON values.

    Args:
        config: the resolved recipe.
        contents: digests of the rows (``data``), of the teacher's files (``teacher``), and, for a student with its own
            checkpoint, of that one's files (``student``).
    """
    dumped = config.model_dump(mode="json", exclude=_SECTIONS_LEFT_OUT)
    for section, keys in _KEYS_LEFT_OUT.items():
        dumped[section] = {key: value for key, value in dumped[section].items() if key not in keys}
    if not isinstance(config.task, GlueTaskConfig):
        # The name of a task of one's own changes no number.
        dumped["task"].pop("name", None)
    if config.student.kind == "pruned":
        # Runs from before students had kinds keep their names.
        del dumped["student"]["kind"]
    for section in ("task", "data", "schedule", "objective", "pruning"):
        dumped[section] = _without_added_keys(getattr(config, section), dumped[section])
    schedule = config.schedule
    dumped["schedule"] = _without_defaults(schedule, dumped["schedule"], schedule.keys_added_at_top)
    dumped["sandwich"] = config.sandwich_training.model_dump(mode="json")
    for stage in ("finetune", "sandwich", "distil"):
        dumped[stage] = {key: value for key, value in dumped[stage].items() if key not in _STAGE_KEYS_LEFT_OUT}
    return {"numerics": NUMERICS_VERSION, "contents": dict(contents), **dumped}


def comparable_setting(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an identity that must be equal for runs to be compared: all but the seed and the method.

    How importance is measured belongs to the method, since a race measures it on its own sample; how heads and neurons
    are ranked by it does not.
    """
    setting = {key: value for key, value in identity.items() if key not in ("seed", "schedule", "sandwich")}
    pruning = {key: value for key, value in identity["pruning"].items() if key != "importance"}
    return {**setting, "pruning": {**pruning, "importance_rows": None}}


def _without_added_keys(value: Any, dumped: Any) -> Any:
    """A section's JSON without its added keys, those of nested sections too, that are at their defaults."""
    if isinstance(value, tuple):
        return [_without_added_keys(one, part) for one, part in zip(value, dumped, strict=True)]
    if not isinstance(value, Config):
        return dumped
    inner = {key: _without_added_keys(getattr(value, key), part) for key, part in dumped.items()}
    return _without_defaults(value, inner, value.keys_added)


def _without_defaults(value: Config, dumped: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    defaults = type(value).model_construct().model_dump(mode="json", include=set(keys))
    return {key: part for key, part in dumped.items() if key not in defaults or part != defaults[key]}


def without_student(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of an identity without the digest of the student's files: a teacher is the same for every student."""
    contents = {name: found for name, found in parts["contents"].items() if name != "student"}
    return {**parts, "contents": contents}


def digest(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def run_name(config: RunConfig, identity: Mapping[str, Any]) -> str:
    """The name of the run's folder under the storage root: the user's, or one made from config and identity.

    Raises:
        UserError: if the user's name could lead out of the storage root, is not portable, or holds a secret.
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
                f"name: {config.name!r} holds a secret, and every report shows the name; choose another one"
            )
        return config.name
    objective = "" if config.objective.kind == "ltsd" else f"{config.objective.kind}-"
    scale = config.student_percent
    return f"{config.task_name}-{config.schedule.kind}-{scale}pc-seed{config.seed}-{objective}{digest(identity)[:8]}"
