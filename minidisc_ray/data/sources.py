"""Reads the splits of a recipe from files or from the hub, each as a `Table`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig, HubDataConfig
from minidisc_ray.configs.task import MultilabelTaskConfig, TaskConfig
from minidisc_ray.data.files import find_file, missing_split, read_file
from minidisc_ray.data.paths import given_path
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import Table, column_map, require_columns, require_labels, without_unlabelled
from minidisc_ray.data.tasks import given_label_names, label_columns, task_columns, validation_names

# A loader of the datasets library, not a data set: older releases of it unpickle local files.
_PICKLE_LOADER = "pandas"


@dataclass(frozen=True, eq=False)
class Tables:
    """All splits of one source before their checks.

    ``validation`` has the primary set first, and is empty where validation is a share of train.
    """

    train: Table
    validation: dict[str, Table]
    selection: Table | None = None


def read_files(task: TaskConfig, data: FilesDataConfig) -> Tables:
    """Read the files that a recipe names, or those that its folder has.

    Raises:
        UserError: if a file is missing or cannot be read, or lacks a column, or if a row has no label, unless such rows
            are to be left out and some have one.
    """
    wanted = column_map(task_columns(task), data.columns, len(label_columns(task)))
    folder = None if data.folder is None else given_path(data.folder, "data.folder")

    def read(path: Path, key: str) -> Table:
        return read_file(path, key, wanted, data.quoting)

    if data.train is not None:
        train = read(given_path(data.train, "data.train"), "data.train")
    else:
        assert folder is not None, "the config requires a folder where a file is not named"
        path = find_file(folder, "train")
        if path is None:
            raise missing_split(folder, "train")
        train = read(path, "data.folder")
    if data.validation is not None:
        validation = {"validation": read(given_path(data.validation, "data.validation"), "data.validation")}
    elif data.validation_fraction is not None:
        if folder is not None:
            _refuse_validation_in(folder, validation_names(task))
        validation = {}
    else:
        assert folder is not None, "as for the training file"
        validation = _validation_in(folder, validation_names(task), read)
    selection = None if data.selection is None else read(given_path(data.selection, "data.selection"), "data.selection")
    found = Tables(train, validation, selection)
    if data.drop_unlabelled:
        return _labelled(found, task)
    if not isinstance(task, MultilabelTaskConfig):
        (column,) = label_columns(task)
        for table in (found.train, *found.validation.values(), *filter(None, [found.selection])):
            require_labels(table, column)
    return found


def _labelled(tables: Tables, task: TaskConfig) -> Tables:
    """The splits without their rows that have no label."""
    if isinstance(task, MultilabelTaskConfig):
        raise UserError(
            "data.drop_unlabelled: a row of a multilabel task may have no label, so none is left out; remove the key"
        )
    (column,) = label_columns(task)
    return Tables(
        without_unlabelled(tables.train, column),
        {name: without_unlabelled(table, column) for name, table in tables.validation.items()},
        None if tables.selection is None else without_unlabelled(tables.selection, column),
    )


def _refuse_validation_in(folder: Path, names: tuple[str, ...]) -> None:
    for name in dict.fromkeys((*names, "validation")):
        if (path := find_file(folder, name)) is not None:
            raise UserError(
                f"data.validation_fraction: data.folder has a validation file, {cut(path.name)}; leave "
                "validation_fraction out, or name data.train in place of data.folder"
            )


def _validation_in(folder: Path, names: tuple[str, ...], read: Callable[[Path, str], Table]) -> dict[str, Table]:
    primary = find_file(folder, names[0])
    if primary is None:
        # A user's copy of a task with several validation sets may have only one.
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
    train = _read_hub_split(task, data, data.train_split, "data.train_split")
    primary, *others = validation_names(task) if data.validation_split is None else (data.validation_split,)
    validation = {primary: _read_hub_split(task, data, primary, "data.validation_split")}
    for other in others:
        # Only the primary set is required.
        with suppress(_MissingSplitError):
            validation[other] = _read_hub_split(task, data, other, "data.validation_split")
    return Tables(train, validation)


class _MissingSplitError(UserError):
    """The data set was reached, but has no such split."""


def _read_hub_split(task: TaskConfig, data: HubDataConfig, split: str, key: str) -> Table:
    """Read the task's columns of one split; code of the data set is never run.

    The data set's class names replace its class numbers, unless the task has other label names.

    Raises:
        _MissingSplitError: if the data set has no such split.
        UserError: if the data set cannot be reached or read, or lacks a column.
    """
    if data.path == _PICKLE_LOADER:
        raise UserError(f"data.path: {_PICKLE_LOADER} loads pickles, which is never allowed; name a data set")
    import datasets  # slow to import, and only needed here

    label_column, *more_labels = label_columns(task)
    wanted = column_map(task_columns(task), data.columns, 1 + len(more_labels))
    name = task.name if task.kind == "glue" and data.name is None and data.path == "nyu-mll/glue" else data.name
    where = f"{cut(data.path)}{f' ({cut(name)})' if name else ''}, split {cut(split)}"
    try:
        with _no_progress_bars():
            rows = datasets.load_dataset(data.path, name, split=split, revision=data.revision)
    except Exception as error:
        # datasets and its HTTP client raise dozens of unrelated classes.
        reason = " ".join(str(error).split())[:200]
        if "Unknown split" in reason:
            raise _MissingSplitError(
                f'{key}: there is no split "{cut(split)}" in {cut(data.path)} ({reason})'
            ) from error
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
    is_list = isinstance(feature, datasets.List | datasets.LargeList)
    inner = feature.feature if is_list else feature
    class_names = tuple(inner.names) if isinstance(inner, datasets.ClassLabel) and not more_labels else None
    label_names = given_label_names(task)
    if class_names is not None and (label_names is None or set(label_names) == set(class_names)):
        # By name, not by number: the task may list the same names in another order. Other numbers stay, such as -1
        # for the hidden labels of a test set; the error for them names the row.
        columns[label_column] = [
            [_name_of(class_names, each) for each in label or ()] if is_list else _name_of(class_names, label)
            for label in columns[label_column]
        ]
    return Table(key, where, columns, class_names)


def _name_of(class_names: tuple[str, ...], label: Any) -> Any:
    return class_names[label] if label is not None and 0 <= label < len(class_names) else label


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Disable the progress bars of ``datasets``; enable them again if they were enabled."""
    import datasets

    if datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
