"""Tables as Parquet files in memory, and back from files that may come from anybody."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tdtool.data.parquet_folder import damaged

#: Bytes of a file of a store that are believed.
MOST_FILE_BYTES = 1 << 32
#: Columns with few different values. Names have to lie in the file in full: what they take in memory is known then.
_REPETITIVE = ["counts.list.element", "weights.list.element"]
_NAMES_A_BYTE, _MOST_RATIO, _FEW_ROWS, _FEW_BYTES = 64, 1040, 1 << 16, 1 << 20


def encoded(schema: pa.Schema, columns: list[Any]) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(columns, schema=schema)
    pq.write_table(table, sink, compression="zstd", use_dictionary=_REPETITIVE)  # type: ignore[arg-type]
    return sink.getvalue().to_pybytes()


def decoded(data: bytes, schema: pa.Schema, place: str, file: str, *, n_rows: int, n_values: int) -> pa.Table:
    """The inverse of `encoded`. n_rows : of the table; n_values : that a column may have at most, all in all."""
    try:
        reader = pq.ParquetFile(pa.BufferReader(data))
        found = reader.schema_arrow
        if found.names != schema.names or [field.type for field in found] != [field.type for field in schema]:
            raise damaged(place, file, "its columns are not those of a store of tdtool")
        if not _is_sane(reader.metadata, len(data), n_rows, n_values):
            what = f"says that it has {reader.metadata.num_rows:,} rows; {n_rows:,} were written, or it is too small"
            raise damaged(place, file, what)
        table = reader.read(use_threads=False).combine_chunks()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"the Parquet file is damaged or incomplete ({str(error).splitlines()[0][:200]})"
        raise damaged(place, file, what) from error
    if table.num_rows != n_rows or any(column.null_count for column in table.columns):
        raise damaged(place, file, "has rows without values")
    return table


def _is_sane(metadata: Any, n_bytes: int, n_rows: int, n_values: int) -> bool:
    """Whether a file of `n_bytes` may hold what it says, before memory is taken for it."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [[group.column(i) for group in groups] for i in range(metadata.num_columns)]
    for column in columns:
        is_text = any(chunk.physical_type == "BYTE_ARRAY" for chunk in column)
        size = sum(chunk.total_uncompressed_size for chunk in column)
        if is_text and any("DICTIONARY" in encoding for chunk in column for encoding in chunk.encodings):
            return False
        if is_text and n_rows > _FEW_ROWS + _NAMES_A_BYTE * n_bytes:
            return False
        if size > _FEW_BYTES + _MOST_RATIO * n_bytes or sum(chunk.num_values for chunk in column) > n_values:
            return False
    return bool(metadata.num_rows == n_rows)
