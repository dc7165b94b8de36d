"""Where the rows of a recipe come from: one `Table` for each split that it names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig, HubDataConfig
from minidisc_ray.configs.task import TaskConfig
from minidisc_ray.data.files import find_file, missing_split, read_file
from minidisc_ray.data.paths import given_path
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import Table, column_map, require_columns
from minidisc_ray.data.tasks import given_label_names, task_columns, validation_names

# A builder of datasets itself; older releases unpickle with it whatever lies beside the recipe.
_READS_PICKLES = "pandas"


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
        return _read_hub_split(
            data.path, name, data.revision, split, key, wanted, label_column, given_label_names(task)
        )

    train = read(data.train_split, "data.train_split")
    if data.validation_split is not None:
        return Tables(train, {data.validation_split: read(data.validation_split, "data.validation_split")})
    primary, *others = validation_names(task)
    validation = {primary: read(primary, "data.validation_split")}
    for other in others:
        try:
            validation[other] = read(other, "data.validation_split")
        except _MissingSplitError:
            continue  # only the primary set is needed
    return Tables(train, validation)


class _MissingSplitError(UserError):
    """The data set was reached, but has no such split."""


def _read_hub_split(
    path: str,
    name: str | None,
    revision: str | None,
    split: str,
    key: str,
    wanted: Mapping[str, str],
    label_column: str,
    label_names: Sequence[str] | None,
) -> Table:
    """Read the wanted columns (task column -> data set's column) of one split; code of the data set is never run.

    Class names that the data set has for ``label_column`` replace its numbers, if the task's ``label_names`` are the
    same ones or are None.

    Raises:
        _MissingSplitError: if the data set has no such split.
        UserError: if the data set cannot be reached or read, or lacks a column.
    """
    if path == _READS_PICKLES:
        raise UserError(f"data.path: {path} is no data set but a reader of pickles, which are never loaded here")
    import datasets  # slow to import, and needed by this source only

    where = f"{cut(path)}{f' ({cut(name)})' if name else ''}, split {cut(split)}"
    try:
        with _no_progress_bars():
            rows = datasets.load_dataset(path, name, split=split, revision=revision)
    except Exception as error:
        # Everything, as datasets and its HTTP client raise dozens of unrelated classes.
        reason = " ".join(str(error).split())[:200]
        if "Unknown split" in reason:
            raise _MissingSplitError(f'{key}: there is no split "{cut(split)}" in {cut(path)} ({reason})') from error
        raise UserError(
            f"data.path: {where} cannot be loaded ({type(error).__name__}: {reason}); "
            "check the name and the connection, or use local files (data.kind: files)"
        ) from error
    require_columns(wanted, rows.column_names, "data.columns", where)
    feature = rows.features[wanted[label_column]]
    try:
        read: dict[str, list[Any]] = rows.select_columns(list(dict.fromkeys(wanted.values()))).to_dict()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{key}: {where} cannot be read ({type(error).__name__}: {reason})") from error
    columns = {column: read[source] for column, source in wanted.items()}
    class_names = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    if class_names is not None and (label_names is None or set(label_names) == set(class_names)):
        # By name, not by number: the task may list the same names in another order. Numbers such as -1, which
        # hidden test labels have, stay as they are, to be refused with their row.
        columns[label_column] = [
            class_names[label] if label is not None and 0 <= label < len(class_names) else label
            for label in columns[label_column]
        ]
    return Table(key, where, columns, class_names)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep the bars of ``datasets`` off the user's screen, and leave the process as it was."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
