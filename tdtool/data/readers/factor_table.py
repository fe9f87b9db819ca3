"""A table whose columns measure something: CSV, TSV or Parquet, as numbers with a hole where a value is missing."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SourceConfig
from tdtool.data.readers.formats import check_given, refuse
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK
from tdtool.errors import InputError

#: What a cell says that has no value, in any case.
MISSING = frozenset(("", ".", "-", "?", "na", "n/a", "#n/a", "nan", "null", "none", "missing"))

_DELIMITERS = ",;\t|"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(\d+([.]\d*)?|[.]\d+)([eE][+-]?\d+)?")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_SAMPLE_ROWS = 100


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """values : (n,) float64, NaN where missing or no number; cells : as written.

    bad : row and content of the first cell that is neither a finite number nor missing; n_bad : how many there are.
    """

    name: str
    values: NDArray[np.float64]
    cells: list[str]
    bad: tuple[int, str] | None
    n_bad: int

    @property
    def n_values(self) -> int:
        """Cells that hold a number."""
        return int(np.count_nonzero(~np.isnan(self.values)))


@dataclasses.dataclass(frozen=True)
class Table:
    """columns in the order of the file; lines : (n,) of the file, where each row begins (Parquet: row numbers)."""

    path: str
    description: str
    columns: list[TableColumn]
    lines: NDArray[np.int64]
    source: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]

    @property
    def n_rows(self) -> int:
        """Rows below the header."""
        return len(self.lines)

    def column(self, name: str) -> TableColumn:
        """By name; ValueError where there is none."""
        return self.columns[self.names.index(name)]


def read_table(path: str, config: SourceConfig) -> Table:
    """Read a table with a header; "-" is standard input; gz, bz2, xz, zst are decompressed.

    Raises InputError, with the line, for a row that is longer or shorter than the header, a header of numbers or
    with the same name twice, a table without rows, and what is no table at all.
    """
    source = Input(path, config)
    if not source.head:
        raise InputError("it is empty", path=source.path, hint="a table has names in its first line, numbers below")
    if source.head.startswith(b"PAR1"):
        return _read_parquet(source)
    suffix = f".{source.name.lower().rpartition('.')[2]}" if "." in source.name else ""
    refuse(source.head, suffix, source.path)
    check_given("csv", source.head, source.path)
    return _read_text(source)


class _Text(io.RawIOBase):
    """The bytes of a stream for Python's text layer, and their digest."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.digest = hashlib.blake2b(digest_size=16)
        self.n_bytes = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As io.RawIOBase has it."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        self.n_bytes += len(data)
        return len(data)


def _read_text(source: Input) -> Table:
    delimiter = _delimiter(source)
    with source.open() as stream:
        raw = _Text(stream)
        text = io.TextIOWrapper(io.BufferedReader(raw, 1 << 18), encoding="utf-8-sig", errors="replace", newline="")
        rows = _rows(text, delimiter, source.path)
        line, header = next(rows, (1, []))
        names = _names(header, line, source.path)
        lines, cells = [], []
        for line, row in rows:
            if len(row) != len(names):
                what = f"this row has {len(row)} cells, the header {len(names)}"
                hint = "correct the row; a cell that contains the delimiter needs quotes"
                raise InputError(what, path=source.path, line=line, hint=hint)
            lines.append(line)
            cells.append(row)
    if not cells:
        raise InputError("the table has no rows below its header", path=source.path)
    by_column = [list(column) for column in zip(*cells, strict=True)]
    columns = [_column(name, column, delimiter) for name, column in zip(names, by_column, strict=True)]
    kind = {",": "CSV", "\t": "TSV"}.get(delimiter, f"CSV with {delimiter!r}")
    description = f"{kind}, {len(lines):,} rows, {len(names)} columns"
    facts = {"path": source.path, "bytes": raw.n_bytes, "digest": raw.digest.hexdigest()}
    return Table(source.path, description, columns, np.array(lines), facts)


def _rows(text: io.TextIOWrapper, delimiter: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of every row that is not blank."""
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(f"the quotes do not add up ({error})", path=path, line=line) from error
        if row is None:
            return
        if len(row) > 1 or any(cell.strip() for cell in row):
            yield line, row


def _delimiter(source: Input) -> str:
    """The delimiter that gives most of the first rows the same number (above 1) of cells."""
    head = source.head.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").splitlines(keepends=True)
    complete = head if source.is_whole_head or len(head) == 1 else head[:-1]

    def agreement(delimiter: str) -> tuple[float, int]:
        reader = csv.reader(itertools.islice(complete, _SAMPLE_ROWS), delimiter=delimiter)
        try:
            counts = [len(row) for row in reader if row]
        except csv.Error:
            return 0.0, 0
        usual = counts[0] if counts else 1
        return (counts.count(usual) / len(counts) if usual > 1 else 0.0), usual

    by_name = "\t" if source.name.lower().endswith((".tsv", ".tab")) else ","
    return max(by_name + _DELIMITERS, key=agreement)


def _names(header: list[str], line: int, path: str) -> list[str]:
    """The header's names; a name that is left out becomes "column N"."""
    names = [cell.strip() or f"column {i}" for i, cell in enumerate(header, 1)]
    if header and all(_NUMBER.fullmatch(cell.strip()) for cell in header):
        what = "the first row is numbers; it must be the names of the columns"
        raise InputError(what, path=path, line=line, hint="put a row of names above the numbers")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two columns are called {twice!r}", path=path, line=line, hint="rename one of them")
    return names


def _column(name: str, cells: list[str], delimiter: str) -> TableColumn:
    """Read the numbers of a column; decimal commas are recognised where the delimiter is none."""
    cells = [cell.strip() for cell in cells]
    plain_values = _plain_numbers(cells)
    if plain_values is not None:
        return TableColumn(name, plain_values, cells, None, 0)
    comma = delimiter != "," and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    values = np.full(len(cells), np.nan)
    bad, n_bad = None, 0
    for row, cell in enumerate(cells):
        if cell.lower() in MISSING:
            continue
        plain = cell.replace(",", ".") if comma and "." not in cell else cell
        if _NUMBER.fullmatch(plain) and not (comma and "." in cell) and math.isfinite(value := float(plain)):
            values[row] = value
        else:
            bad, n_bad = bad or (row, cell), n_bad + 1
    return TableColumn(name, values, cells, bad, n_bad)


def _plain_numbers(cells: list[str]) -> NDArray[np.float64] | None:
    """The fast way for columns of nothing but numbers and empty cells; None for all others."""
    try:
        values = np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return None
    written = sum(map(bool, cells))  # float() also takes nan, inf and 1_000
    return values if np.isfinite(values).sum() == written and not any("_" in cell for cell in cells) else None


def is_infinite(cell: str) -> bool:
    """Whether a cell says infinity, or a number too large to hold."""
    return bool(_INFINITE.fullmatch(cell) or (_NUMBER.fullmatch(cell) and math.isinf(float(cell))))


def _read_parquet(source: Input) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source.open_seekable() as file:
        try:
            table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            what = f"the Parquet file is damaged or incomplete ({str(error).splitlines()[0]})"
            raise InputError(what, path=source.path, hint="copy or download it again") from error
    if not table.num_rows:
        raise InputError("the table has no rows", path=source.path)
    columns = [
        _arrow_column(name, table.column(i)) for i, name in enumerate(_names(table.column_names, 1, source.path))
    ]
    description = f"Parquet, {table.num_rows:,} rows, {len(columns)} columns"
    facts = {"path": source.path, "bytes": source.size, "digest": _table_digest(columns)}
    return Table(source.path, description, columns, np.arange(1, table.num_rows + 1), facts)


def _arrow_column(name: str, column: Any) -> TableColumn:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        cells = ["" if value is None else str(value) for value in column.to_pylist()]
        infinite = np.flatnonzero(np.isinf(values))
        bad = (int(infinite[0]), cells[infinite[0]]) if infinite.size else None
        return TableColumn(name, np.where(np.isinf(values), np.nan, values), cells, bad, infinite.size)
    return _column(name, ["" if value is None else str(value) for value in column.to_pylist()], ",")


def _table_digest(columns: list[TableColumn]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update("\0".join((column.name, *column.cells)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
