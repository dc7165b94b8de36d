"""Recommended configurations as recipes that `minidisc run` takes."""

import shlex
from pathlib import Path
from typing import Final

import yaml

from minidisc_ray.autodistiller.prediction.recommendation import Recommendation, Recommended
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.figures._words import slug
from minidisc_ray.reports.recommendation.render import recommendation_records
from minidisc_ray.reports.tables import csv_text
from minidisc_ray.run_files.fetching import open_storage

NO_RECIPE: Final = (
    "--output: recipes are made from a recipe, and only a task's name was given; give a recipe, or leave --output out"
)


def write_recommendation(found: Recommendation, folder: Path) -> list[Path]:
    """Write a recipe of each configuration, and recommendation.csv, into a new folder; returns their paths.

    Raises:
        UserError: if the folder exists or cannot be written, or there was no recipe to start from.
    """
    if found.is_by_name:
        raise UserError(NO_RECIPE)
    if folder.exists():
        raise UserError(f"--output: {folder} exists; choose another name")
    storage = open_storage(folder)
    try:
        storage.root.mkdir(parents=True)
        table = storage.root / "recommendation.csv"
        storage.write_text(table, csv_text(recommendation_records(found)))
        recipes = [
            storage.root / f"{place:02d}-{slug(item.objective)}.yaml" for place, item in enumerate(found.items, start=1)
        ]
        for path, item in zip(recipes, found.items, strict=True):
            storage.write_text(path, _recipe_text(item, path))
    except OSError as error:
        raise UserError(f"--output: {folder} cannot be written ({error.strerror})") from error
    return [*recipes, table]


def _recipe_text(item: Recommended, path: Path) -> str:
    assert item.config is not None
    assert item.tflops is not None
    # Absolute, as the paths in the recipe are: the command works in any folder.
    head = (
        f"# {item.objective}: recommended by minidisc recommend.\n"
        f"# Predicted: {100 * item.mean:.1f}% of the teacher's score ({100 * item.low:.1f} to {100 * item.high:.1f}). "
        f"Costs {item.tflops:,.3f} TFLOPs without the teacher.\n"
        f"#   minidisc run {shlex.quote(str(path.absolute()))}\n"
    )
    return head + yaml.safe_dump(item.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
