"""Tables of observations from where they lie: our own, a frame's file, or what Distiller's authors published."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from minidisc_ray.autodistiller.tables.frame import COLUMNS, checked_frame
from minidisc_ray.autodistiller.tables.published import OBSERVATIONS, read_published
from minidisc_ray.autodistiller.tables.table import read_frame
from minidisc_ray.autodistiller.tables.tabular import read_tabular
from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import is_uri


def read_table(path: Path) -> pd.DataFrame:
    """The observations of a table of ``minidisc observe``, of a frame saved as Parquet or CSV, or published ones.

    Args:
        path: the table's folder or URI, the file, or the folder with the published CSV files.

    Raises:
        UserError: if it cannot be read, or its columns are not those of a table of observations.
    """
    if is_uri(path):
        return read_frame(path)
    if path.is_dir():
        return read_published(path) if (path / OBSERVATIONS).is_file() else read_frame(path)
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv"):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; `minidisc observe` writes a table of observations")
        raise UserError(f"{path}: not a table of observations; give a .parquet or .csv file")
    table = read_tabular(path)
    return checked_frame(table, path.name)


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Several tables as one; a dataset feature that a table lacks is missing in its rows.

    A row of one table that an earlier table has too, equal in all its columns but features, counts once.
    """
    tables = [read_table(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    rows = pd.concat(tables, ignore_index=True)
    # Equal rows of one table are repeated results, each with its number; those of two tables are the same ones.
    columns = [column for column in COLUMNS if column != "source"]
    within = pd.concat([table.groupby(columns, dropna=False).cumcount() for table in tables], ignore_index=True)
    is_known = rows[columns].assign(number=within).duplicated()
    return checked_frame(rows[~is_known], ", ".join(path.name for path in paths))
