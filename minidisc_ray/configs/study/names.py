"""Check a study's names and keys: what each section may change, and no name of a row or column twice."""

from collections.abc import Mapping
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.study.base import (
    AVERAGE,
    AXES,
    MAJORITY_ROW,
    SEARCH_COLUMNS,
    STUDY_NAME,
    TABLE_COLUMNS,
    TEACHER_ROW,
    MethodConfig,
    StudyConfig,
)

_MAX_CHARACTERS = 80
_WHY = {
    "storage": "it is the study's own key",
    "name": "runs are named by their config",
    "seed": "write the study's seeds",
    "task": "write the study's tasks",
    "compute": "all runs of a table use the same resources; put it into recipe",
}
_OF_THE_TEACHER = dict.fromkeys(
    ("data", "teacher", "finetune", "protocol", "precision"),
    "all methods of a table share rows and teacher; put it into recipe, or under tasks or teachers",
)
# The keys that each section refuses, with the reason.
_REFUSED = {
    "recipe": {key: _WHY[key] for key in ("storage", "name", "seed", "task")},
    "teachers": _WHY,
    "tasks": {key: why for key, why in _WHY.items() if key != "task"},
    "methods": _WHY | _OF_THE_TEACHER,
}


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
    taken = dict.fromkeys((*TABLE_COLUMNS, *SEARCH_COLUMNS), "the table's own")
    taken |= dict.fromkeys(_columns(AVERAGE), f"the {AVERAGE}'s")
    for name, entry in study.tasks.items():
        keys = [name, f"{name}_m", f"{name}_mm"] if _is_mnli(name, entry.changes) else [name]
        columns = [column for key in keys for column in _columns(key)]
        for column in columns:
            if column in taken:
                raise UserError(f"tasks: {name!r} would have a column {column}, which is {taken[column]}; rename it")
        taken |= dict.fromkeys(columns, f"that of {name!r}")


def check_keys(study: StudyConfig) -> None:
    """Refuse keys that no recipe has, that the study itself sets, or that all rows of a table share.

    Raises:
        UserError: naming the key.
    """
    found: list[tuple[str, str, Mapping[str, Any]]] = [("recipe", "recipe", study.recipe)]
    for axis in AXES:
        entries = getattr(study, axis) or {}
        found += [(axis, f"{axis}.{name}", entry.changes) for name, entry in entries.items()]
    for kind, where, changes in found:
        _check_known(where, changes, _REFUSED[kind], kind == "methods")
        for key, why in _REFUSED[kind].items():
            if key in changes:
                raise UserError(f"{where}.{key}: not allowed here; {why}")
        student = changes.get("student")
        if isinstance(student, Mapping) and "scale_percent" in student:
            raise UserError(f"{where}.student.scale_percent: not allowed here; write the study's scales")


def _check_known(where: str, changes: Mapping[str, Any], refused: Mapping[str, str], is_method: bool) -> None:
    """Refuse keys that no recipe has, in a message that lists the allowed ones: all but those that are refused."""
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
