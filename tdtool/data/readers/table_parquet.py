"""Parquet: one column is the text; row groups are streamed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import EMPTY, LONGEST_DOCUMENT, TOO_LONG, OnBytes, TextSource, ignore
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_columns import Columns, choose_columns
from tdtool.data.readers.text_batches import BATCH_BYTES, BATCH_DOCUMENTS, printable
from tdtool.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SAMPLE_ROWS = 1000


def open_parquet(source: Input) -> TextSource:
    """A source whose documents are one column of a Parquet file."""
    # A pipe is read here, once: Parquet begins at its end.
    kept = None if source.seekable else source.open_seekable()
    with opened_parquet(source, kept, ignore) as file:
        columns = plan_parquet(file, source)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        with opened_parquet(source, kept, on_bytes) as file:
            n_rows, told = file.metadata.num_rows, 0
            for row, batches in read_groups(file, columns, range(file.metadata.num_row_groups), 0, source.path, ledger):
                yield from batches
                if source.size is not None and source.compression is None:
                    now = source.size * row // n_rows
                    on_bytes(now - told)
                    told = now

    return TextSource("parquet", source.path, source.size, columns.describe("Parquet"), read, columns.id_given)


def plan_parquet(file: pq.ParquetFile, source: Input) -> Columns:
    """Which columns to read; InputError when there are no rows or no text."""
    if not file.metadata.num_rows:
        raise InputError("the table has no rows", path=source.path)
    return _choose(file, source.config, source.path)


@contextlib.contextmanager
def opened_parquet(source: Input, kept: Any, on_bytes: OnBytes) -> Iterator[pq.ParquetFile]:
    """The file opened; what pyarrow raises in our words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        raw = kept if kept is not None else stack.enter_context(source.open_seekable(on_bytes))
        try:
            yield pq.ParquetFile(raw)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"the Parquet file is damaged or incomplete ({str(error).splitlines()[0]})",
                path=source.path,
                hint="copy or download it again",
            ) from error


def _choose(file: pq.ParquetFile, config: SourceConfig, path: str) -> Columns:
    """Columns by the user's word, else by a sample of the first rows."""
    sample = next(file.iter_batches(batch_size=_SAMPLE_ROWS))
    names = sample.schema.names
    columns = [column_cells(sample.column(i)) for i in range(len(names))]
    columns_found = choose_columns(names, [list(row) for row in zip(*columns, strict=True)], config, path)
    if not is_text(sample.schema.field(columns_found.text).type):
        textual = [field.name for field in sample.schema if is_text(field.type)]
        raise InputError(
            f"the column {names[columns_found.text]!r} is not text but {sample.schema.field(columns_found.text).type}",
            path=path,
            hint=f"text is in {', '.join(textual)}; name one with --column" if textual else "no column holds text",
        )
    return columns_found


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, in whatever form it is stored."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(check(kind) for check in checks) or kind in (pa.string_view(), pa.binary_view())


def column_cells(column: pa.Array) -> list[str]:
    """The values of a column as text, for a sample; lists, structs and the like count as nothing."""
    return [_cell(value) for value in _values(column)]


def _values(column: pa.Array) -> list[Any]:
    import pyarrow as pa

    if is_text(column.type):
        return list(as_binary(column).to_pylist())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return list(column.to_pylist())
    return [None] * len(column)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def as_binary(column: Any) -> Any:
    """Any kind of text column as large binary, which no broken UTF-8 can trouble."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary())


def read_groups(
    file: pq.ParquetFile, columns: Columns, groups: Sequence[int], row: int, path: str, ledger: Ledger
) -> Iterator[tuple[int, list[TextBatch]]]:
    """The documents of some row groups, as (rows read so far, batches). row : how many come before in the file."""
    names = columns.names or []
    n_rows = file.metadata.num_rows
    sizes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    per_batch = int(min(max(BATCH_BYTES * n_rows // max(sizes, 1), 1), BATCH_DOCUMENTS))
    wanted = [names[i] for i in {columns.text, columns.id} if i >= 0]
    for table in file.iter_batches(batch_size=per_batch, row_groups=list(groups), columns=wanted):
        text = as_binary(table.column(table.schema.get_field_index(names[columns.text])))
        ids = None if columns.id < 0 else table.column(table.schema.get_field_index(names[columns.id]))
        batches = list(_cut(text, ids, row, path, ledger))
        row += len(text)
        yield row, batches


def _cut(text: Any, ids: Any, row: int, path: str, ledger: Ledger) -> Iterator[TextBatch]:
    """Rows as a batch. text : large binary; row : how many came before."""
    import pyarrow as pa

    lengths = np.where(text.is_null(), 0, np.diff(_offsets(text)))
    keep = (lengths > 0) & (lengths <= LONGEST_DOCUMENT)
    lines = np.arange(row + 1, row + 1 + len(text), dtype=np.int64)
    for line, length in zip(lines[~keep].tolist(), lengths[~keep].tolist(), strict=True):
        ledger.skip(TOO_LONG if length else EMPTY, path, line)
    if not keep.any():
        return
    if not keep.all():
        chosen = pa.array(keep)
        text, ids, lines = text.filter(chosen), None if ids is None else ids.filter(chosen), lines[keep]
    offsets = _offsets(text)
    data = np.frombuffer(text.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    ledger.use(len(lines))
    yield TextBatch(data, offsets - offsets[0], _names(ids, lines.tolist()), path, lines)


def _offsets(text: Any) -> np.ndarray:
    """(n + 1,) int64: where each value begins and ends in the data buffer."""
    return np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]


def _names(ids: pa.Array | None, lines: list[int]) -> list[str]:
    if ids is None:
        return [str(line) for line in lines]
    if is_text(ids.type):
        names = [printable(value or b"") for value in as_binary(ids).to_pylist()]
    else:
        names = [_cell(value) for value in ids.to_pylist()]
    return [name or f"row {line}" for name, line in zip(names, lines, strict=True)]
