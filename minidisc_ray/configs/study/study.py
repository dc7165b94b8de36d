"""Read a study's YAML file and make the recipe of each of its runs; every mistake is one sentence."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import TOO_DEEP, check_integers, deep_copy, expand, read_yaml, resolve
from minidisc_ray.configs.messages import message_of
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.configs.study.base import AXES, MethodConfig, StudyConfig
from minidisc_ray.configs.study.merge import merged, override_study, with_budget
from minidisc_ray.configs.study.names import check_columns, check_keys, check_names
from minidisc_ray.configs.study.rows import check_distinct, check_printed
from minidisc_ray.configs.task import GlueTask

__all__ = ["MAX_RUNS", "Cell", "MethodConfig", "StudyConfig", "load_study", "resolve_study", "study_runs"]

MAX_RUNS = 10_000
_PRUNED = "pruned"
_TASK_NAMES = (*get_args(GlueTask), "builtin")
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


class Cell(NamedTuple):
    """One run of a study: its value on each axis, and its whole recipe.

    Attributes:
        teacher: its name in the study; None if the study has no teachers.
        task: its name in the study.
        method: its name in the study.
        scale_percent: the student's scale; None if it is computed, so that the method has one row whatever the scales.
        seed: of the run.
        config: the whole recipe. Cells with equal recipes are the same run.
    """

    teacher: str | None
    task: str
    method: str
    scale_percent: int | None
    seed: int
    config: RunConfig


def load_study(path: str | Path, overrides: Sequence[str] = (), budget: str | None = None) -> StudyConfig:
    """Read a study, apply one of its budgets, apply ``key.sub=value`` overrides and check every run's recipe.

    Raises:
        UserError: if the file cannot be read, or a key or value is not allowed; a recipe's mistake names the method.
    """
    raw = read_yaml(Path(path), "study", "name, recipe, tasks and methods")
    if not {"methods", "recipe", "tasks"} & raw.keys() and {"task", "schedule", "teacher"} & raw.keys():
        raise UserError(f"{path} is a recipe of one run, without methods; use minidisc run or minidisc plan")
    return resolve_study(raw, overrides, budget)


def resolve_study(raw: Mapping[str, Any], overrides: Sequence[str] = (), budget: str | None = None) -> StudyConfig:
    """Check a study given as a mapping, as :func:`load_study` does.

    Raises:
        UserError: naming the key, the value and what is allowed.
    """
    try:
        check_integers(raw)
        return _resolved(raw, overrides, budget)
    except RecursionError as error:
        raise UserError(TOO_DEEP) from error


def _resolved(raw: Mapping[str, Any], overrides: Sequence[str], budget: str | None) -> StudyConfig:
    merged_study = _apply_budget(raw, budget)
    for override in overrides:
        override_study(merged_study, override)
    check_names(merged_study)
    try:
        study = StudyConfig.model_validate(expand(merged_study, ""))
    except ValidationError as error:
        raise UserError(message_of(error, StudyConfig)) from error
    _check_keys(study)
    check_columns(study)
    count = sum(1 for _ in _points(study)) * len(study.seeds)
    if count > MAX_RUNS:
        raise UserError(f"the study has {count:,} runs, more than {MAX_RUNS:,}; take fewer tasks, scales or seeds")
    if count == 0:
        raise UserError("methods: none of them has a run; allow more under only")
    first_seed = study.model_copy(update={"seeds": study.seeds[:1]})
    runs = list(study_runs(first_seed))
    check_distinct(
        {(run.method, run.teacher, run.task, run.scale_percent): run.config.model_dump_json() for run in runs}
    )
    check_printed(study, [run.method for run in runs if run.scale_percent is not None], _all_scales(raw, study))
    configs = {run.method: run.config for run in reversed(runs)}
    named = configs.get(study.conventional or "")
    if named is not None and not isinstance(named.schedule, ConventionalConfig):
        raise UserError(
            f"conventional: {study.conventional!r} has schedule {named.schedule.kind}; name a method whose schedule is "
            "conventional, or leave the key out"
        )
    return study.model_copy(update={"conventional": study.conventional or _conventional(study, configs)})


def study_runs(study: StudyConfig, storage: str | None = None) -> Iterator[Cell]:
    """Yield every run, ordered by teacher, task, seed, method and scale (largest first).

    Args:
        study: from :func:`load_study`.
        storage: where runs are kept; by default the study's own.

    Raises:
        UserError: if a run's recipe is not allowed, naming its method and task.
    """
    where = study.storage if storage is None else storage
    points = list(_points(study))
    for teacher, task in dict.fromkeys((point.teacher, point.task) for point in points):
        here = [point for point in points if (point.teacher, point.task) == (teacher, task)]
        for seed in study.seeds:
            for point in here:
                yield Cell(*point, seed, _config(point, study, seed, where))


class _Point(NamedTuple):
    teacher: str | None
    task: str
    method: str
    scale_percent: int | None


def _apply_budget(raw: Mapping[str, Any], wanted: str | None) -> dict[str, Any]:
    study: dict[str, Any] = deep_copy({key: value for key, value in raw.items() if key != "budgets"})
    budgets = raw.get("budgets") or {}
    if not isinstance(budgets, Mapping):
        raise UserError("budgets: write a mapping from each budget's name to the study's keys that it changes")
    name = raw.get("budget") if wanted is None else wanted
    if name is None:
        if budgets:
            raise UserError(f"budget: missing; name the default one of {', '.join(map(str, budgets))}")
        return study
    if not isinstance(name, str | int | float):
        raise UserError(f"budget: {name!r} is not a name; write one of {', '.join(map(str, budgets)) or 'none'}")
    if name not in budgets:
        listed = f"use one of {', '.join(map(str, budgets))}" if budgets else "the study has none"
        raise UserError(f"budget: {name!r} is not a budget of this study; {listed}")
    changes = budgets[name] or {}
    if not isinstance(changes, Mapping):
        raise UserError(f"budgets.{name}: write a mapping of the study's keys that it changes")
    for key in changes:
        if key in ("name", "budget", "budgets", "paper") or key not in StudyConfig.model_fields:
            raise UserError(f"budgets.{name}.{key}: not a key that a budget changes; it may change recipe, teachers, "
                            "tasks, scales, seeds, methods, title, conventional, baselines and storage")  # fmt: skip
    return with_budget(study, changes) | {"budget": str(name)}


def _all_scales(raw: Mapping[str, Any], study: StudyConfig) -> set[int]:
    """The scales of the study and of all its budgets, since a paper's rows stay the same."""
    budgets = [budget for budget in (raw.get("budgets") or {}).values() if isinstance(budget, Mapping)]
    lists = [found for one in (raw, *budgets) if isinstance(found := one.get("scales"), list | tuple)]
    return {*study.scales, *(scale for found in lists for scale in found if isinstance(scale, int))}


def _check_keys(study: StudyConfig) -> None:
    """Refuse keys that no recipe has, that the study itself sets, or that all rows of a table share."""
    found: list[tuple[str, str, Mapping[str, Any]]] = [("recipe", "recipe", study.recipe)]
    for axis in AXES:
        entries = getattr(study, axis) or {}
        found += [(axis, f"{axis}.{name}", entry.changes) for name, entry in entries.items()]
    for kind, where, changes in found:
        check_keys(where, changes, _REFUSED[kind], kind == "methods")
        for key, why in _REFUSED[kind].items():
            if key in changes:
                raise UserError(f"{where}.{key}: not allowed here; {why}")
        student = changes.get("student")
        if isinstance(student, Mapping) and "scale_percent" in student:
            raise UserError(f"{where}.student.scale_percent: not allowed here; write the study's scales")


def _points(study: StudyConfig) -> Iterator[_Point]:
    """Every combination of teacher, task, method and scale that the study has."""
    scales = sorted(study.scales, reverse=True)
    for teacher in study.teacher_names:
        for task in study.tasks:
            for name, method in study.methods.items():
                only = method.only
                if task not in (only.tasks or study.tasks) or teacher not in (only.teachers or study.teacher_names):
                    continue
                if _has_own_scale(study, teacher, task, method):
                    yield _Point(teacher, task, name, None)
                    continue
                for scale in scales:
                    if scale in (only.scales or scales):
                        yield _Point(teacher, task, name, scale)


def _has_own_scale(study: StudyConfig, teacher: str | None, task: str, method: MethodConfig) -> bool:
    """Whether the student's scale is computed, and not one of the study's."""
    student = _merged_recipe(study, teacher, task, method).get("student")
    return isinstance(student, Mapping) and student.get("kind", _PRUNED) != _PRUNED


def _merged_recipe(study: StudyConfig, teacher: str | None, task: str, method: MethodConfig) -> dict[str, Any]:
    raw = dict(study.recipe)
    if teacher is not None and study.teachers is not None:
        raw = merged(raw, study.teachers[teacher].changes)
    return merged(merged(raw, study.tasks[task].changes), method.changes)


def _config(point: _Point, study: StudyConfig, seed: int, storage: str) -> RunConfig:
    raw = _merged_recipe(study, point.teacher, point.task, study.methods[point.method])
    if "task" not in raw:
        if point.task not in _TASK_NAMES:
            raise UserError(
                f"tasks.{point.task}.task: missing; {point.task!r} is neither builtin nor a GLUE task "
                f"({', '.join(get_args(GlueTask))}), so write its task"
            )
        raw["task"] = point.task
    if point.scale_percent is not None:
        student = raw.get("student") or {}
        if not isinstance(student, Mapping):
            raise UserError(f"{_title(point)}: student: {student!r} is not allowed; write a mapping")
        raw["student"] = {**student, "scale_percent": point.scale_percent}
    try:
        return resolve({**raw, "seed": seed, "storage": storage})
    except UserError as error:
        raise UserError(f"{_title(point)}: {error}") from error


def _title(point: _Point) -> str:
    scale = "" if point.scale_percent is None else f" at {point.scale_percent} percent"
    teacher = "" if point.teacher is None else f" from {point.teacher}"
    return f"methods.{point.method} on {point.task}{scale}{teacher}"


def _conventional(study: StudyConfig, configs: Mapping[str, RunConfig]) -> str | None:
    """The first method without an assistant whose student has the study's scales and whose cost is not matched."""
    for name in study.methods:
        config = configs.get(name)
        if config is None or config.student.kind != _PRUNED:
            continue
        if isinstance(config.schedule, ConventionalConfig) and getattr(config.schedule, "match", None) is None:
            return name
    return None
