"""Apply a setting of a study's grid to a recipe, and refuse grids that do not fit the study."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import run_identity
from minidisc_ray.configs.loader import deep_copy
from minidisc_ray.configs.study.base import AXES, StudyConfig
from minidisc_ray.configs.study.grid import Setting
from minidisc_ray.configs.study.merge import merged

if TYPE_CHECKING:
    from minidisc_ray.configs.study.study import Cell

_SANDWICH = "sandwich"


def with_setting(raw: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """A raw recipe with a setting's values.

    A sandwich without a section of its own follows ``distil``, so values searched for it alone change a copy of that.
    A schedule without a sandwich leaves them out: settings that differ in nothing else are then one run.
    """
    changes: dict[str, Any] = {}
    for key, value in setting.items():
        *above, last = key.split(".")
        node = changes
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    of_sandwich = changes.pop(_SANDWICH, None)
    # A section that is no mapping stays, so that it is refused with the recipe.
    result = merged(raw, {key: value for key, value in changes.items() if isinstance(raw.get(key) or {}, Mapping)})
    if of_sandwich is not None and _has_sandwich(result.get("schedule")):
        own = result.get(_SANDWICH) or deep_copy(result.get("distil") or {})
        result[_SANDWICH] = merged(own, of_sandwich) if isinstance(own, Mapping) else own
    return result


def check_grid(study: StudyConfig) -> None:
    """Refuse a grid whose seed is not the study's or a method's, or whose keys have a value elsewhere.

    Raises:
        UserError: naming the key.
    """
    if study.grid is None:
        return
    seed = study.grid_seed
    if seed not in study.seeds:
        raise UserError(
            f"grid.seed: {seed} is not among the study's seeds ({', '.join(map(str, study.seeds))}); use one of them"
        )
    for name in study.methods:
        seeds = study.seeds_of(name)
        if seeds and seed not in seeds:
            raise UserError(
                f"methods.{name}.only.seeds: the grid's seed {seed} is missing; add it, or set grid.seed to one that "
                "every method has"
            )
    for axis in AXES:
        for name, entry in (getattr(study, axis) or {}).items():
            for key in study.grid.values:
                if _is_set(entry.changes, key.split(".")):
                    raise UserError(
                        f"{axis}.{name}.{key}: the grid searches {key}; remove it here, or from grid.values"
                    )


def check_searched(study: StudyConfig, cells: Iterable["Cell"]) -> None:
    """Refuse a searched key that changes no method's runs.

    Args:
        study: with or without a grid.
        cells: the grid's runs, for each place in turn every setting; none without a grid.

    Raises:
        UserError: naming the key; or if a run's recipe is not allowed.
    """
    settings = () if study.grid is None else study.grid.settings
    # For each key the setting that differs from the first one in it alone; a key with one value has none.
    other = {
        key: next(index for index, found in enumerate(settings) if found == {**settings[0], key: values[1]})
        for key, values in ({} if study.grid is None else study.grid.values).items()
        if len(values) > 1
    }
    first: dict[str, Any] = {}
    for cell in cells:
        if cell.setting == 0:
            first = run_identity(cell.config, {})
        elif cell.setting in other.values() and run_identity(cell.config, {}) != first:
            other = {key: setting for key, setting in other.items() if setting != cell.setting}
    if other:
        raise UserError(f"grid.values: {next(iter(other))} changes no run of any method; remove it")


def _is_set(changes: Mapping[str, Any], parts: Sequence[str]) -> bool:
    """Whether changes set a key, or replace a section above it by something else."""
    node: Any = changes
    for part in parts:
        if not isinstance(node, Mapping):
            return node is not None
        if part not in node:
            return False
        node = node[part]
    return True


def _has_sandwich(schedule: Any) -> bool:
    """Whether a raw schedule trains a sandwich, or matches the cost of one that does."""
    if not isinstance(schedule, Mapping):
        return True
    kind = schedule.get("kind", "minidisc")
    return kind == "minidisc" or schedule.get("assistants") == _SANDWICH or schedule.get("match") is not None
