"""Columns of a Parquet file; a module of its own because Arrow is slow to import."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from minidisc_ray.data.quoting import cut
from minidisc_ray.data.table import refuse_repeated, require_columns, with_other_columns
from minidisc_ray.data.unpacking import too_large, unpacked_limit

_ALWAYS_ALLOWED_ROWS = 1_000_000  # whatever the size of the file


def read_parquet(path: Path, key: str, wanted: Mapping[str, str], with_others: bool = False) -> dict[str, list[Any]]:
    """Read the wanted columns (task column -> file column), with the file's other ones if asked for.

    Raises:
        UserError: naming ``key``, if a column is missing or repeated, or the file unpacks to more than allowed.
    """
    schema = pyarrow.parquet.read_schema(path)
    refuse_repeated(schema.names, key, cut(path.name))
    require_columns(wanted, schema.names, key, cut(path.name))
    chosen = with_other_columns(wanted, schema.names) if with_others else wanted
    sources = list(dict.fromkeys(chosen.values()))
    texts = [source for source in sources if _is_text(schema.field(source).type)]
    # Texts stay dictionary-encoded until their full size has been checked.
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
        if _is_too_large(file.metadata, path):
            raise too_large(path, key)
        table = file.read(columns=sources)
    if sum(_bytes_of_texts(table.column(source)) for source in texts) > unpacked_limit(path):
        raise too_large(path, key)
    return {column: _values(table.column(source)) for column, source in chosen.items()}


def _values(column: pyarrow.ChunkedArray) -> list[Any]:
    """A column as Python values; float16 is cast first, as Arrow gives NumPy scalars for it."""
    values: list[Any] = (column.cast("float32") if pyarrow.types.is_float16(column.type) else column).to_pylist()
    return values


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_binary(kind))


def _is_too_large(metadata: pyarrow.parquet.FileMetaData, path: Path) -> bool:
    """Whether the metadata has more bytes or rows than allowed; a few bytes can encode billions of equal rows."""
    unpacked = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    # Rows that differ take at least a byte each.
    rows_allowed = max(_ALWAYS_ALLOWED_ROWS, path.stat().st_size)
    return bool(unpacked > unpacked_limit(path) or metadata.num_rows > rows_allowed)


def _bytes_of_texts(column: pyarrow.ChunkedArray) -> int:
    """Bytes of the texts of all rows, repeated ones included."""
    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, pyarrow.DictionaryArray):
            lengths = pyarrow.compute.binary_length(chunk.dictionary).take(chunk.indices)
            total += pyarrow.compute.sum(lengths).as_py() or 0
        else:
            total += int(chunk.nbytes)
    return total
