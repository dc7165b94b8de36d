"""Check a study's names: each is a line of text, and does not clash with a row or column of the table."""

from collections.abc import Mapping
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.study.base import (
    AVERAGE,
    AXES,
    MAJORITY_ROW,
    STUDY_NAME,
    TABLE_COLUMNS,
    TEACHER_ROW,
    MethodConfig,
    StudyConfig,
)

_MAX_CHARACTERS = 80


def check_names(raw: Mapping[str, Any]) -> None:
    """Refuse names that are not a line of text, in a study as read from its file.

    Raises:
        UserError: naming the axis and the name.
    """
    name = raw.get("name")
    if isinstance(name, str) and not STUDY_NAME.fullmatch(name):
        raise UserError(
            f"name: {name!r} is not a folder's name; write up to {_MAX_CHARACTERS} letters, digits, dots, dashes and "
            "underscores, a letter or digit first and last"
        )
    for axis in AXES:
        entries = raw.get(axis)
        for key in entries if isinstance(entries, Mapping) else ():
            if not isinstance(key, str):
                raise UserError(f"{axis}: {key!r} is not text; a name is, so put it into quotes")
            if not key or key != key.strip() or not key.isprintable() or len(key) > _MAX_CHARACTERS:
                raise UserError(
                    f"{axis}: {key[:_MAX_CHARACTERS]!r} is not a name; write one line of up to {_MAX_CHARACTERS} "
                    "characters, without a space first or last"
                )
            if axis == "methods" and key in (TEACHER_ROW, MAJORITY_ROW):
                raise UserError(f"methods: {key!r} is the name of a row that every table has; choose another name")


def check_columns(study: StudyConfig) -> None:
    """Refuse tasks whose columns in the csv and json would have the name of another column.

    Raises:
        UserError: naming the task and the column.
    """
    taken = dict.fromkeys(TABLE_COLUMNS, "the table's own")
    taken |= dict.fromkeys(_columns(AVERAGE), f"the {AVERAGE}'s")
    for name, entry in study.tasks.items():
        keys = [name, f"{name}_m", f"{name}_mm"] if _is_mnli(name, entry.changes) else [name]
        columns = [column for key in keys for column in _columns(key)]
        for column in columns:
            if column in taken:
                raise UserError(f"tasks: {name!r} would have a column {column}, which is {taken[column]}; rename it")
        taken |= dict.fromkeys(columns, f"that of {name!r}")


def check_keys(where: str, changes: Mapping[str, Any], refused: Mapping[str, str], is_method: bool) -> None:
    """Refuse keys that no recipe has, in a message that lists the allowed ones.

    Args:
        where: the section's path, for the message.
        changes: the section.
        refused: keys of a recipe that are not allowed in this section.
        is_method: whether the section is a method, which has keys of its own too.

    Raises:
        UserError: naming the key.
    """
    own = set(MethodConfig.model_fields) if is_method else set()
    for key in changes:
        if key not in RunConfig.model_fields:
            allowed = sorted((set(RunConfig.model_fields) | own) - refused.keys())
            raise UserError(f"{where}.{key}: unknown key; allowed here: {', '.join(allowed)}")


def _columns(key: str) -> list[str]:
    return [key, f"{key}_std", f"{key}_seeds", f"paper_{key}"]


def _is_mnli(name: str, changes: Mapping[str, Any]) -> bool:
    task = changes.get("task", name)
    return bool((task.get("name") if isinstance(task, Mapping) else task) == "mnli")
