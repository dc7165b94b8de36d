"""From a recipe to the rows that train, select and score."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import BuiltinDataConfig, FilesDataConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.task import ClassificationTaskConfig, TaskConfig
from minidisc_ray.core.task import Task
from minidisc_ray.data.builtin import builtin_rows
from minidisc_ray.data.labels import ClassIndex
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.sampling import sample, selection_indices
from minidisc_ray.data.sources import Tables, read_files, read_hub
from minidisc_ray.data.table import Table, label_names_in, to_rows
from minidisc_ray.data.tasks import given_label_names, resolve_task, task_columns

_MAX_NAMES = 10  # in a note


@dataclass(frozen=True, eq=False)
class Splits:
    """All rows of a run.

    Attributes:
        task: the resolved task; its ``validation_splits`` are the keys of ``validation``.
        train: what models are trained on; never overlaps ``selection`` where that was drawn from train.
        selection: what early stopping and choices see.
        validation: what reported scores are computed on, the primary set first.
        test: rows that nothing of a run sees, where the source has them.
        digest: sha256 (hexadecimal) over the rows of all splits and the label names.
        selection_description: where selection came from, for tables.
        notes: what a user should know of how the rows were read, in a sentence each.
    """

    task: Task
    train: Rows
    selection: Rows
    validation: dict[str, Rows]
    test: Rows | None
    digest: str
    selection_description: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Loaded:
    task: Task
    train: Rows
    validation: dict[str, Rows]
    selection: Rows | None = None
    selection_name: str = ""
    test: Rows | None = None
    notes: tuple[str, ...] = ()


def load_splits(config: RunConfig) -> Splits:
    """Load, sample and split the rows of a recipe; the same recipe gives the same rows, whatever the run's seed.

    Raises:
        UserError: if rows cannot be read, a split is empty or has a single class or value, two splits are the same
            rows, or classes are too small for the share that is to be held out.
    """
    loaded = _load(config)
    data = config.data
    train = sample(loaded.train, data.max_train_rows, data.selection_seed)
    validation = {
        name: sample(rows, data.max_validation_rows, data.selection_seed) for name, rows in loaded.validation.items()
    }
    _check(train, "train", loaded.task)
    for name, rows in validation.items():
        _check(rows, name, loaded.task)
    primary = next(iter(validation))
    if config.protocol == "paper":
        selection, description = validation[primary], f"{primary} (paper protocol)"
    elif loaded.selection is not None:
        selection, description = loaded.selection, str(loaded.selection_name)
    else:
        chosen = selection_indices(train, data.selection_fraction, data.selection_seed, loaded.task.is_regression)
        _check_share(train, len(chosen), config, loaded.task)
        whole = train
        selection = whole.take(chosen)
        train = whole.take(np.setdiff1d(np.arange(len(whole)), chosen))
        description = f"a seeded {_share(data.selection_fraction)} of train"
        _check(train, "train, less selection,", loaded.task)
    _check(selection, "selection", loaded.task)
    task = dataclasses.replace(loaded.task, validation_splits=tuple(validation))
    scored = {f"validation/{name}": rows for name, rows in validation.items()}
    digest = _digest(task, {"train": train, "selection": selection, **scored}, loaded.test)
    return Splits(task, train, selection, validation, loaded.test, digest, description, loaded.notes)


def _load(config: RunConfig) -> _Loaded:
    data = config.data
    if isinstance(data, BuiltinDataConfig):
        return _Loaded(
            resolve_task(config.task),
            builtin_rows("train", data.train_rows, data.generation_seed, data.but_weight),
            {"validation": builtin_rows("validation", data.validation_rows, data.generation_seed, data.but_weight)},
            test=builtin_rows("test", data.test_rows, data.generation_seed, data.but_weight),
        )
    if isinstance(data, FilesDataConfig):
        tables: Tables = read_files(config.task, data)
    else:
        tables = read_hub(config.task, data)
    names = given_label_names(config.task)
    task = resolve_task(
        config.task, label_names_in(tables.train, task_columns(config.task)[-1]) if names is None else None
    )
    # Numbers among names that were found in train are names: as positions they would be other classes.
    classes = ClassIndex(task.label_names, allows_positions=names is not None)
    selection, train = tables.selection, to_rows(tables.train, task, classes)
    loaded = _Loaded(
        task,
        train,
        {name: to_rows(table, task, classes) for name, table in tables.validation.items()},
        None if selection is None else to_rows(selection, task, classes),
        "" if selection is None else selection.where,
        notes=_notes(tables, classes, config.task, train),
    )
    if config.protocol == "held_out":
        _check_apart(tables, loaded)
    return loaded


def _notes(tables: Tables, classes: ClassIndex, config: TaskConfig, train: Rows) -> tuple[str, ...]:
    every = (tables.train, *tables.validation.values(), tables.selection)
    notes = [table.note for table in every if table is not None and table.note is not None]
    if classes.used_positions and isinstance(config, ClassificationTaskConfig):
        pairs = ", ".join(f"{position} is {cut(name)}" for position, name in enumerate(classes.names[:_MAX_NAMES]))
        more = ", ..." if len(classes.names) > _MAX_NAMES else ""
        notes.append(f"labels that are numbers are positions in task.label_names: {pairs}{more}")
        if not (train.labels == 0).any():
            notes.append(f"no row of train is of the class {cut(classes.names[0])}: positions begin at 0, not at 1")
    return tuple(notes)


def _check_apart(tables: Tables, loaded: _Loaded) -> None:
    """Refuse splits that are the same rows as a whole; a few shared ones, as GLUE has them, are no mistake."""
    splits: list[tuple[Table, Rows]] = [(tables.train, loaded.train)]
    if tables.selection is not None and loaded.selection is not None:
        splits.append((tables.selection, loaded.selection))
    validation = [(table, loaded.validation[name]) for name, table in tables.validation.items()]
    pairs = [*zip(splits[1:], splits[:1], strict=False), *((held, other) for held in validation for other in splits)]
    for (table, rows), (other, other_rows) in pairs:
        if len(rows) == len(other_rows) and rows.digest() == other_rows.digest():
            raise UserError(
                f"{table.key}: the {len(rows)} rows of {table.where} are those of {other.where} ({other.key}), "
                "which protocol: held_out keeps apart; name other rows"
            )


def _check_share(train: Rows, drawn: int, config: RunConfig, task: Task) -> None:
    """Refuse a selection that has far more than its share, as every class of two rows or more has one there."""
    fraction = config.data.selection_fraction
    # A single row is refused later, with a sentence of its own.
    if task.is_regression or drawn < 2 or drawn <= 2 * fraction * len(train) + 1e-9:
        return
    classes, counts = np.unique(train.labels, return_counts=True)
    smallest = cut(task.label_names[int(classes[counts.argmin()])])
    raise UserError(
        f"data.selection_fraction: {fraction:g} of the {len(train)} rows of train, with at least one of each of their "
        f"{len(classes)} classes, would be {drawn} rows ({drawn / len(train):.0%}; {smallest} has {counts.min()} in "
        "all); merge classes, give more rows, or name a selection file (data.selection)"
    )


def _check(rows: Rows, name: str, task: Task) -> None:
    """Refuse what no training or metric can use."""
    if not len(rows):
        raise UserError(f"data: {name} has no rows; give more rows or a larger sample")
    labels: NDArray[np.generic] = rows.labels
    if (labels != labels[0]).any():
        return
    if task.is_regression:
        raise UserError(
            f"data: all {len(rows)} labels of {name} are {rows.labels[0]:g}; a regression needs different ones"
        )
    only = task.label_names[int(rows.labels[0])]
    raise UserError(
        f"data: all {len(rows)} rows of {name} are of the class {cut(only)}; at least two classes are needed"
    )


def _share(fraction: float) -> str:
    return "tenth" if fraction == 0.1 else f"{100 * fraction:.3g}%"


def _digest(task: Task, splits: dict[str, Rows], test: Rows | None) -> str:
    parts = {name: rows.digest() for name, rows in splits.items()}
    parts["test"] = "" if test is None else test.digest()
    text = json.dumps({"label_names": task.label_names, "splits": parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
