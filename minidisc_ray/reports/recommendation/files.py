"""Recommended configurations as recipes that `minidisc run` takes."""

from pathlib import Path

import yaml

from minidisc_ray.autodistiller.prediction.recommendation import Recommendation, Recommended
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.figures._words import slug
from minidisc_ray.reports.recommendation.render import recommendation_records
from minidisc_ray.reports.tables import csv_text
from minidisc_ray.run_files.fetching import open_storage


def write_recommendation(found: Recommendation, folder: Path) -> list[Path]:
    """Write a recipe of each configuration, and recommendation.csv, into a new folder; returns their paths.

    Raises:
        UserError: if the folder exists or cannot be written.
    """
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
            storage.write_text(path, _recipe_text(item, path.name))
    except OSError as error:
        raise UserError(f"--output: {folder} cannot be written ({error.strerror})") from error
    return [*recipes, table]


def _recipe_text(item: Recommended, name: str) -> str:
    head = (
        f"# {item.objective}: recommended by minidisc recommend.\n"
        f"# Predicted: {100 * item.mean:.1f}% of the teacher's score ({100 * item.low:.1f} to {100 * item.high:.1f}). "
        f"Costs {item.tflops:,.3f} TFLOPs without the teacher.\n"
        f"#   minidisc run {name}\n"
    )
    return head + yaml.safe_dump(item.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
