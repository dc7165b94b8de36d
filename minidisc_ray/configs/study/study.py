"""Read a study's YAML file and make the recipe of each of its runs; every mistake is one sentence."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import TOO_DEEP, check_integers, expand, read_yaml, resolve
from minidisc_ray.configs.messages import message_of
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import ConventionalConfig
from minidisc_ray.configs.study.base import MethodConfig, StudyConfig
from minidisc_ray.configs.study.grid import setting_text
from minidisc_ray.configs.study.merge import apply_budget, merged, override_study
from minidisc_ray.configs.study.names import check_columns, check_keys, check_names
from minidisc_ray.configs.study.rows import check_distinct, check_printed
from minidisc_ray.configs.study.settings import check_grid, check_searched, with_setting
from minidisc_ray.configs.task import GlueTask

__all__ = [
    "MAX_RUNS",
    "Cell",
    "MethodConfig",
    "Place",
    "StudyConfig",
    "grid_runs",
    "load_study",
    "methods_without_runs",
    "resolve_study",
    "study_runs",
]

MAX_RUNS = 10_000
_PRUNED = "pruned"
_TASK_NAMES = (*get_args(GlueTask), "builtin")


class Place(NamedTuple):
    """What a study has one setting for: a method's runs of one teacher, task and student scale, over all seeds."""

    teacher: str | None
    task: str
    method: str
    scale_percent: int | None

    @property
    def title(self) -> str:
        """The place in words."""
        scale = "" if self.scale_percent is None else f" at {self.scale_percent} percent"
        teacher = "" if self.teacher is None else f" from {self.teacher}"
        return f"{self.method} on {self.task}{scale}{teacher}"


class Cell(NamedTuple):
    """One run of a study: its value on each axis, and its whole recipe.

    Attributes:
        teacher: its name in the study; None if the study has no teachers.
        task: its name in the study.
        method: its name in the study.
        scale_percent: the student's scale; None if it is computed, so that the method has one row whatever the scales.
        seed: of the run.
        config: the whole recipe. Cells with equal recipes are the same run.
        setting: of the study's grid, by its place there; None without a grid. A cell of a grid that has none yet has
            the recipe of the first one.
    """

    teacher: str | None
    task: str
    method: str
    scale_percent: int | None
    seed: int
    config: RunConfig
    setting: int | None = None

    @property
    def place(self) -> Place:
        """All but the seed."""
        return Place(self.teacher, self.task, self.method, self.scale_percent)


def load_study(
    path: str | Path,
    overrides: Sequence[str] = (),
    budget: str | None = None,
    tasks: Sequence[str] | None = None,
) -> StudyConfig:
    """Read a study, apply one of its budgets, apply ``key.sub=value`` overrides and check every run's recipe.

    Args:
        path: of the study's file.
        overrides: ``key.sub=value``, as after ``--set``.
        budget: its name; by default the one that the study names.
        tasks: names of the study's tasks that are kept; by default all.

    Raises:
        UserError: if the file cannot be read, or a key or value is not allowed; a recipe's mistake names the method.
    """
    raw = read_yaml(Path(path), "study", "name, recipe, tasks and methods")
    if not {"methods", "recipe", "tasks"} & raw.keys() and {"task", "schedule", "teacher"} & raw.keys():
        raise UserError(f"{path} is a recipe of one run, without methods; use minidisc run or minidisc plan")
    return resolve_study(raw, overrides, budget, tasks)


def resolve_study(
    raw: Mapping[str, Any],
    overrides: Sequence[str] = (),
    budget: str | None = None,
    tasks: Sequence[str] | None = None,
) -> StudyConfig:
    """Check a study given as a mapping, as :func:`load_study` does.

    Raises:
        UserError: naming the key, the value and what is allowed.
    """
    try:
        check_integers(raw)
        return _resolved(raw, overrides, budget, tasks)
    except RecursionError as error:
        raise UserError(TOO_DEEP) from error


def _resolved(
    raw: Mapping[str, Any], overrides: Sequence[str], budget: str | None, tasks: Sequence[str] | None
) -> StudyConfig:
    merged_study = apply_budget(raw, budget)
    for override in overrides:
        override_study(merged_study, override)
    check_names(merged_study)
    try:
        study = StudyConfig.model_validate(expand(merged_study, ""))
    except ValidationError as error:
        raise UserError(message_of(error, StudyConfig)) from error
    check_keys(study)
    check_columns(study)
    check_grid(study)
    study = _with_tasks(study, tasks)
    points = list(_points(study))
    num_tried = 1 if study.grid is None else study.grid.num_settings
    count = sum(num_tried - 1 + len(study.seeds_of(point.method)) for point in points)
    if count > MAX_RUNS:
        fewer = "tasks, scales or seeds" if study.grid is None else "tasks, scales, seeds or values in the grid"
        raise UserError(f"the study has {count:,} runs, more than {MAX_RUNS:,}; take fewer {fewer}")
    if count == 0:
        raise UserError("methods: none of them has a run; allow more under only")
    # All with one seed, which a method may lack: recipes are compared.
    seed = study.grid_seed
    runs = [Cell(*point, seed, _config(point, study, seed, study.storage)) for point in points]
    check_searched(study, grid_runs(study))
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


def study_runs(
    study: StudyConfig, storage: str | None = None, chosen: Mapping[Place, int] | None = None
) -> Iterator[Cell]:
    """Yield every run of the table, ordered by teacher, task, seed, method and scale (largest first).

    Args:
        study: from :func:`load_study`.
        storage: where runs are kept; by default the study's own.
        chosen: of a study with a grid, the setting of each place that has one.

    Raises:
        UserError: if a run's recipe is not allowed, naming its method and task.
    """
    where = study.storage if storage is None else storage
    points = list(_points(study))
    for teacher, task in dict.fromkeys((point.teacher, point.task) for point in points):
        here = [point for point in points if (point.teacher, point.task) == (teacher, task)]
        for seed in study.seeds:
            for point in here:
                if seed in study.seeds_of(point.method):
                    setting = (chosen or {}).get(point)
                    yield Cell(*point, seed, _config(point, study, seed, where, setting or 0), setting)


def grid_runs(study: StudyConfig, storage: str | None = None) -> Iterator[Cell]:
    """Yield the runs that a setting is chosen by: for each place in turn every setting, with the grid's seed.

    Args:
        study: from :func:`load_study`; without a grid it has none.
        storage: where runs are kept; by default the study's own.

    Raises:
        UserError: if a run's recipe is not allowed, naming its method, task and setting.
    """
    if study.grid is None:
        return
    where, seed = study.storage if storage is None else storage, study.grid_seed
    for point in _points(study):
        for setting in range(study.grid.num_settings):
            yield Cell(*point, seed, _config(point, study, seed, where, setting), setting)


def methods_without_runs(study: StudyConfig) -> list[str]:
    """A sentence for each method that has no run, since its ``only`` has none of the seeds, tasks or scales taken."""
    found = {point.method for point in _points(study)}
    return [
        f"{name} has no {'run' if study.seeds_of(name) else 'seed'} in this command"
        for name in study.methods
        if name not in found
    ]


def _with_tasks(study: StudyConfig, names: Sequence[str] | None) -> StudyConfig:
    """The study with some of its tasks, in its own order."""
    if names is None:
        return study
    if unknown := [name for name in names if name not in study.tasks]:
        raise UserError(f"--tasks: {unknown[0]!r} is not a task of this study; name some of {', '.join(study.tasks)}")
    return study.model_copy(update={"tasks": {name: study.tasks[name] for name in study.tasks if name in names}})


def _all_scales(raw: Mapping[str, Any], study: StudyConfig) -> set[int]:
    """The scales of the study and of all its budgets, since a paper's rows stay the same."""
    budgets = [budget for budget in (raw.get("budgets") or {}).values() if isinstance(budget, Mapping)]
    lists = [found for one in (raw, *budgets) if isinstance(found := one.get("scales"), list | tuple)]
    return {*study.scales, *(scale for found in lists for scale in found if isinstance(scale, int))}


def _points(study: StudyConfig) -> Iterator[Place]:
    """Every combination of teacher, task, method and scale that the study has."""
    scales = sorted(study.scales, reverse=True)
    for teacher in study.teacher_names:
        for task in study.tasks:
            for name, method in study.methods.items():
                only = method.only
                if not study.seeds_of(name):
                    continue
                if task not in (only.tasks or study.tasks) or teacher not in (only.teachers or study.teacher_names):
                    continue
                if _has_own_scale(study, teacher, task, method):
                    yield Place(teacher, task, name, None)
                    continue
                for scale in scales:
                    if scale in (only.scales or scales):
                        yield Place(teacher, task, name, scale)


def _has_own_scale(study: StudyConfig, teacher: str | None, task: str, method: MethodConfig) -> bool:
    """Whether the student's scale is computed, and not one of the study's."""
    student = _merged_recipe(study, teacher, task, method).get("student")
    return isinstance(student, Mapping) and student.get("kind", _PRUNED) != _PRUNED


def _merged_recipe(study: StudyConfig, teacher: str | None, task: str, method: MethodConfig) -> dict[str, Any]:
    raw = dict(study.recipe)
    if teacher is not None and study.teachers is not None:
        raw = merged(raw, study.teachers[teacher].changes)
    return merged(merged(raw, study.tasks[task].changes), method.changes)


def _config(point: Place, study: StudyConfig, seed: int, storage: str, setting: int = 0) -> RunConfig:
    raw = _merged_recipe(study, point.teacher, point.task, study.methods[point.method])
    title = f"methods.{point.title}"
    if study.grid is not None:
        values = study.grid.settings[setting]
        raw, title = with_setting(raw, values), f"{title} with {setting_text(values)}"
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
            raise UserError(f"{title}: student: {student!r} is not allowed; write a mapping")
        raw["student"] = {**student, "scale_percent": point.scale_percent}
    try:
        return resolve({**raw, "seed": seed, "storage": storage})
    except UserError as error:
        raise UserError(f"{title}: {error}") from error


def _conventional(study: StudyConfig, configs: Mapping[str, RunConfig]) -> str | None:
    """The first method without an assistant whose student has the study's scales and whose cost is not matched."""
    for name in study.methods:
        config = configs.get(name)
        if config is None or config.student.kind != _PRUNED:
            continue
        if isinstance(config.schedule, ConventionalConfig) and getattr(config.schedule, "match", None) is None:
            return name
    return None
