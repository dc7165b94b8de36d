"""Reads a CSV or Parquet file that others wrote, in bounded memory and without waiting on a pipe."""

from io import BytesIO
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.files.reading import read_regular

MAX_ROWS: Final = 2_000_000
_MAX_BYTES: Final = 2**30


def read_tabular(path: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """The rows of a ``.parquet`` file, or of a CSV file whatever its ending.

    Raises:
        UserError: if it is missing, no regular file, larger than 1 GiB or two million rows, or cannot be parsed.
    """
    try:
        content = BytesIO(read_regular(path, _MAX_BYTES, follow_link=True))
        if path.suffix.lower() == ".parquet":
            # A few bytes of Parquet can stand for billions of equal rows.
            num_rows = pq.ParquetFile(content).metadata.num_rows
            table = None if num_rows > MAX_ROWS else _without_metadata(content)
        else:
            table = pd.read_csv(content, encoding=encoding, nrows=MAX_ROWS + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `minidisc observe` writes a table of observations") from None
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise UserError(f"{path}: cannot be read as a table ({reason})") from error
    if table is None or len(table) > MAX_ROWS:
        raise UserError(f"{path}: has more than {MAX_ROWS:,} rows; give fewer")
    return table


def _without_metadata(content: BytesIO) -> pd.DataFrame:
    """The columns alone: what pandas noted of an index says nothing here, and may be damaged."""
    frame: pd.DataFrame = pq.read_table(content).replace_schema_metadata(None).to_pandas()
    return frame
