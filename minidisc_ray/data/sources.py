"""Where the rows of a recipe come from: one `Table` for each split that it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig, HubDataConfig
from minidisc_ray.configs.task import TaskConfig
from minidisc_ray.data.files import find_file, missing_split, read_file
from minidisc_ray.data.hub import MissingSplitError, read_hub_split
from minidisc_ray.data.paths import given_path
from minidisc_ray.data.table import Table, column_map
from minidisc_ray.data.tasks import given_label_names, task_columns, validation_names


@dataclass(frozen=True, eq=False)
class Tables:
    """All splits of one source, unchecked; ``validation`` has the primary set first."""

    train: Table
    validation: dict[str, Table]
    selection: Table | None = None


def read_files(task: TaskConfig, data: FilesDataConfig) -> Tables:
    """Read the files that a recipe names, or those that its folder has.

    Raises:
        UserError: if a file is missing or cannot be read, or lacks a column.
    """
    wanted = column_map(task_columns(task), data.columns)
    folder = None if data.folder is None else given_path(data.folder, "data.folder")

    def read(path: Path, key: str) -> Table:
        return read_file(path, key, wanted, data.quoting)

    if data.train is not None:
        train = read(given_path(data.train, "data.train"), "data.train")
    else:
        assert folder is not None, "the config demands it wherever a file is not named"
        path = find_file(folder, "train")
        if path is None:
            raise missing_split(folder, "train")
        train = read(path, "data.folder")
    if data.validation is not None:
        validation = {"validation": read(given_path(data.validation, "data.validation"), "data.validation")}
    else:
        assert folder is not None, "as for the training file"
        validation = _validation_in(folder, validation_names(task), read)
    selection = None if data.selection is None else read(given_path(data.selection, "data.selection"), "data.selection")
    return Tables(train, validation, selection)


def _validation_in(folder: Path, names: tuple[str, ...], read: Callable[[Path, str], Table]) -> dict[str, Table]:
    primary = find_file(folder, names[0])
    if primary is None:
        # A user's own copy of a task with several sets may well have one only.
        plain = find_file(folder, "validation")
        if plain is None:
            raise missing_split(folder, names[0])
        return {"validation": read(plain, "data.folder")}
    others = {name: find_file(folder, name) for name in names[1:]}
    return {names[0]: read(primary, "data.folder")} | {
        name: read(path, "data.folder") for name, path in others.items() if path is not None
    }


def read_hub(task: TaskConfig, data: HubDataConfig) -> Tables:
    """Read the splits of a data set of the hub.

    Raises:
        UserError: if it cannot be reached, or lacks a split or a column.
    """
    given = {"path": data.path, "train_split": data.train_split, "validation_split": data.validation_split}
    for field, value in given.items():
        if value is not None and not value.strip():
            allowed = "the data set's name on the hub, or a local folder" if field == "path" else "the name of a split"
            raise UserError(f"data.{field}: is empty; give {allowed}")
    wanted = column_map(task_columns(task), data.columns)
    name = data.name
    if name is None and data.path == "nyu-mll/glue" and task.kind == "glue":
        name = task.name
    label_column = task_columns(task)[-1]

    def read(split: str, key: str) -> Table:
        return read_hub_split(data.path, name, data.revision, split, key, wanted, label_column, given_label_names(task))

    train = read(data.train_split, "data.train_split")
    if data.validation_split is not None:
        return Tables(train, {data.validation_split: read(data.validation_split, "data.validation_split")})
    primary, *others = validation_names(task)
    validation = {primary: read(primary, "data.validation_split")}
    for other in others:
        try:
            validation[other] = read(other, "data.validation_split")
        except MissingSplitError:
            continue  # only the primary set is needed
    return Tables(train, validation)
