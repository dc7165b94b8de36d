"""Loads the rows of a recipe: to train on, to select with and to score on."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import BuiltinDataConfig, FilesDataConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.task import ClassificationTaskConfig, MultilabelTaskConfig, TaskConfig
from minidisc_ray.core.task import Task
from minidisc_ray.data.builtin import builtin_rows
from minidisc_ray.data.labels import ClassIndex
from minidisc_ray.data.quoting import named
from minidisc_ray.data.rows import Rows
from minidisc_ray.data.sampling import HeldOut, held_out_indices, held_out_of_labels, sample, strata
from minidisc_ray.data.sources import Tables, read_files, read_hub
from minidisc_ray.data.table import Table, label_names_in, to_rows
from minidisc_ray.data.tasks import given_label_names, label_columns, resolve_task


@dataclass(frozen=True, eq=False)
class Splits:
    """All rows of a run.

    Attributes:
        task: the resolved task; its ``validation_splits`` are the keys of ``validation``.
        train: what models are trained on, without the rows of ``selection`` if those were drawn from train.
        selection: for early stopping and for choices among models.
        validation: for the reported scores, the primary set first.
        test: rows that no step of a run uses, if the source has them.
        digest: sha256 (hexadecimal) over the rows of all splits and the label names.
        selection_description: the source of selection, for tables.
        notes: warnings about how the rows were read, one sentence each.
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
    """Load, sample and split the rows of a recipe; the run's seed does not change them.

    Raises:
        UserError: if rows cannot be read, a split is empty or has a single class or value, two splits have the same
            rows, or there are too many small classes for the share to be held out.
    """
    data = config.data
    loaded = _load(config)
    if isinstance(data, FilesDataConfig) and data.validation_fraction is not None:
        loaded = _with_validation(loaded, data.validation_fraction, data.selection_seed)
    train = sample(loaded.train, data.max_train_rows, data.selection_seed)
    validation = {
        name: sample(rows, data.max_validation_rows, data.selection_seed) for name, rows in loaded.validation.items()
    }
    _require_usable(train, "train", loaded.task)
    _require_all_labels(train, loaded.task)
    for name, rows in validation.items():
        _require_usable(rows, name, loaded.task)
    primary = next(iter(validation))
    if config.protocol == "paper":
        selection, description = validation[primary], f"{primary} (paper protocol)"
    elif loaded.selection is not None:
        selection, description = loaded.selection, loaded.selection_name
    else:
        share, seed = data.selection_fraction, data.selection_seed
        selection, train, notes = _hold_out(train, share, seed, loaded.task, "selection")
        if isinstance(data, FilesDataConfig) and data.validation_fraction is not None:
            left = f"selection is a seeded {_share(share)} of the rows that are left, {len(selection):,} rows"
            notes = (f"{left} (data.selection_fraction): no row is in both", *notes)
        loaded = dataclasses.replace(loaded, notes=(*loaded.notes, *notes))
        description = f"a seeded {_share(share)} of train"
        _require_usable(train, "train without selection", loaded.task)
    _require_usable(selection, "selection", loaded.task)
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
    separator = config.task.separator if isinstance(config.task, MultilabelTaskConfig) else None
    found = None if names is not None else label_names_in(tables.train, label_columns(config.task)[0], separator)
    task = resolve_task(config.task, found, config.task_name)
    # If names were found in train, a number among them is a name; as a position it would mean another class.
    classes = ClassIndex(task.label_names, allows_positions=names is not None and not task.is_multilabel)
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
        _refuse_equal_splits(tables, loaded)
    return loaded


def _with_validation(loaded: _Loaded, fraction: float, seed: int) -> _Loaded:
    """The rows with a share of train as validation."""
    _require_usable(loaded.train, "train", loaded.task)
    validation, train, notes = _hold_out(loaded.train, fraction, seed, loaded.task, "validation")
    known = set(zip(*train.texts, strict=True))
    repeated = sum(texts in known for texts in zip(*validation.texts, strict=True))
    note = f"validation is a seeded {_share(fraction)} of train, {len(validation):,} rows (data.validation_fraction)"
    if repeated:
        note += f"; {repeated:,} of them have the same text as a row that is trained on, which makes scores too high"
    notes = (*loaded.notes, note, *notes)
    return dataclasses.replace(loaded, train=train, validation={"validation": validation}, notes=notes)


def _hold_out(rows: Rows, fraction: float, seed: int, task: Task, use: HeldOut) -> tuple[Rows, Rows, tuple[str, ...]]:
    """A seeded share of the rows, the others, and notes on how it was drawn."""
    groups, notes = strata(rows, task.output), tuple[str, ...]()
    chosen = held_out_indices(groups, len(rows), fraction, seed, use)
    is_off = len(chosen) < 2 <= round(len(rows) * fraction) or _is_large_share(len(chosen), len(rows), fraction)
    if task.is_multilabel and is_off:
        chosen = held_out_of_labels(rows.labels, fraction, seed, use)
        notes = (f"{use} is drawn at random and not by labels: too few rows have the same rarest label",)
        if len(chosen) < 2:
            raise UserError(
                f"data.{use}_fraction: {fraction:g} of the {len(rows)} rows of train would leave a label without a row "
                f"to train on; give more rows, merge labels, or name a {use} file (data.{use})"
            )
    _refuse_large_share(groups, len(chosen), fraction, task, use)
    return rows.take(chosen), rows.take(np.setdiff1d(np.arange(len(rows)), chosen)), notes


def _notes(tables: Tables, classes: ClassIndex, config: TaskConfig, train: Rows) -> tuple[str, ...]:
    every = (tables.train, *tables.validation.values(), tables.selection)
    notes = [table.note for table in every if table is not None and table.note is not None]
    if classes.used_positions and isinstance(config, ClassificationTaskConfig):
        notes.append(f"labels that are numbers are positions in task.label_names: {classes.positions_note()}")
        if not (train.labels == 0).any():
            notes.append(f"no row of train is of the class {named(classes.names[0])}: positions begin at 0, not at 1")
    return tuple(notes)


def _refuse_equal_splits(tables: Tables, loaded: _Loaded) -> None:
    """Refuse splits that have exactly the same rows; a few shared rows, as in GLUE, are no mistake."""
    train = (tables.train, loaded.train)
    validation = [(table, loaded.validation[name]) for name, table in tables.validation.items()]
    pairs: list[tuple[tuple[Table, Rows], tuple[Table, Rows]]] = [(split, train) for split in validation]
    if tables.selection is not None and loaded.selection is not None:
        selection = (tables.selection, loaded.selection)
        pairs = [(selection, train), *pairs, *((split, selection) for split in validation)]
    for (table, rows), (other, other_rows) in pairs:
        if len(rows) == len(other_rows) and rows.digest() == other_rows.digest():
            raise UserError(
                f"{table.key}: {table.where} has the same {len(rows)} rows as {other.where} ({other.key}); "
                "protocol: held_out needs different ones"
            )


def _is_large_share(drawn: int, num_rows: int, fraction: float) -> bool:
    return drawn > 2 * fraction * num_rows + 1e-9


def _refuse_large_share(
    groups: NDArray[np.int64] | None, drawn: int, fraction: float, task: Task, use: HeldOut
) -> None:
    """Refuse held-out rows that exceed their share by far because each class of two or more rows has a row in them."""
    # A selection of one row is refused later, as one of a single class.
    if groups is None or drawn < 2 or not _is_large_share(drawn, len(groups), fraction):
        return
    classes, counts = np.unique(groups, return_counts=True)
    smallest = named(task.label_names[int(classes[counts.argmin()])])
    raise UserError(
        f"data.{use}_fraction: {fraction:g} of the {len(groups)} rows of train, with at least one of each of "
        f"{len(classes)} classes, would be {drawn} rows ({drawn / len(groups):.0%}; {smallest} has {counts.min()} in "
        f"all); merge classes, give more rows, or name a {use} file (data.{use})"
    )


def _require_all_labels(train: Rows, task: Task) -> None:
    """Refuse a label that no row of train has: nothing could learn it."""
    if not task.is_multilabel:
        return
    for name, count in zip(task.label_names, train.labels.sum(axis=0), strict=True):
        if not count:
            key = "label" if task.label_columns else "label_names"
            raise UserError(
                f"task.{key}: no row of train has the label {named(name)}; leave it out, or give rows that have it"
            )


def _require_usable(rows: Rows, name: str, task: Task) -> None:
    """Refuse a split without rows, or with a single class or value."""
    if not len(rows):
        raise UserError(f"data: {name} has no rows; give more rows or a larger sample")
    labels: NDArray[np.generic] = rows.labels
    if (labels != labels[0]).any():
        return
    if task.is_regression:
        raise UserError(
            f"data: all {len(rows)} labels of {name} are {rows.labels[0]:g}; a regression needs different ones"
        )
    if task.is_multilabel:
        raise UserError(
            f"data: all {len(rows)} rows of {name} have the same labels; rows with different ones are needed"
        )
    only = task.label_names[int(rows.labels[0])]
    raise UserError(
        f"data: all {len(rows)} rows of {name} are of the class {named(only)}; at least two classes are needed"
    )


def _share(fraction: float) -> str:
    return "tenth" if fraction == 0.1 else f"{100 * fraction:.3g}%"


def _digest(task: Task, splits: dict[str, Rows], test: Rows | None) -> str:
    parts = {name: rows.digest() for name, rows in splits.items()}
    parts["test"] = "" if test is None else test.digest()
    text = json.dumps({"label_names": task.label_names, "splits": parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
