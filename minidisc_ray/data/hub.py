"""Columns of a data set of the Hugging Face hub, or of a local folder that ``datasets`` can load."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import Table, require_columns

_READS_PICKLES = (
    "pandas"  # a builder of datasets itself; older releases unpickle with it whatever lies beside the recipe
)


class MissingSplitError(UserError):
    """The data set was reached, but has no such split."""


def read_hub_split(
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
        MissingSplitError: if the data set has no such split.
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
            raise MissingSplitError(f'{key}: there is no split "{cut(split)}" in {cut(path)} ({reason})') from error
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
