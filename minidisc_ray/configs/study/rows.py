"""Check a study's rows: no two are the same runs, and printed figures are at scales that the study has."""

from collections.abc import Iterable, Mapping
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.study.base import TEACHER_ROW, StudyConfig

# Method, teacher, task and scale -> the recipe.
Recipes = Mapping[tuple[str, str | None, str, int | None], str]


def check_distinct(recipes: Recipes) -> None:
    """Refuse two methods, or two teachers, whose recipes are equal in every cell that both have.

    Raises:
        UserError: naming the two.
    """
    for axis, place in (("methods", 0), ("teachers", 1)):
        by_name: dict[str | int | None, dict[tuple[Any, ...], str]] = {}
        for key, recipe in recipes.items():
            by_name.setdefault(key[place], {})[key[:place] + key[place + 1 :]] = recipe
        names = list(by_name)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                common = by_name[first].keys() & by_name[second].keys()
                if common and all(by_name[first][where] == by_name[second][where] for where in common):
                    raise UserError(
                        f"{axis}: {first!r} and {second!r} have the same recipe everywhere, so two rows would show "
                        "the same runs; remove one of them, or make their recipes differ"
                    )


def check_printed(study: StudyConfig, methods_with_scales: Iterable[str], scales: Iterable[int]) -> None:
    """Refuse figures printed at a scale that no budget of the study has.

    Args:
        study: the study, with the printed figures.
        methods_with_scales: methods whose students have the study's scales.
        scales: those of the study and of all its budgets.

    Raises:
        UserError: naming method and scale.
    """
    known, scaled = {str(scale) for scale in scales}, set(methods_with_scales)
    for table in study.paper.tables.values() if study.paper else ():
        for method, by_scale in table.rows.items():
            for scale in by_scale if method != TEACHER_ROW and method in scaled else ():
                if str(scale) not in known:
                    listed = ", ".join(sorted(known, key=int))
                    raise UserError(f"paper.rows.{method}: {scale!r} is not among the study's scales ({listed})")
