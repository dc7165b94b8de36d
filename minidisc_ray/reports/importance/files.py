"""The files of `minidisc importance --output`; apart from the table, since they need matplotlib."""

from pathlib import Path

from minidisc_ray.autodistiller.importance.component_importance import Importance
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.figures import write_figures
from minidisc_ray.reports.importance.figure import importance_figure
from minidisc_ray.reports.importance.render import importance_records
from minidisc_ray.reports.tables import csv_text
from minidisc_ray.run_files.fetching import open_storage


def write_importance(importance: Importance, folder: Path) -> list[Path]:
    """Write importance.csv, importance.svg and importance.png into a folder; returns their paths.

    Raises:
        UserError: if the folder cannot be written.
    """
    storage = open_storage(folder)
    try:
        storage.root.mkdir(parents=True, exist_ok=True)
        table = storage.root / "importance.csv"
        storage.write_text(table, csv_text(importance_records(importance)))
        return [table, *write_figures(storage, storage.root, {"importance": importance_figure(importance)})]
    except OSError as error:
        raise UserError(f"--output: {folder} cannot be written ({error.strerror})") from error
