"""Parquet tables as graphs: a row for each edge, streamed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_checks import check_weight
from tdtool.data.readers.graph_edges import NO_NAME
from tdtool.data.readers.graph_names import NameCodes
from tdtool.data.readers.graph_table import edge_ends, edge_weight
from tdtool.data.readers.graph_types import FoundGraph, check_memory, edge_bytes
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_parquet import as_binary, column_cells, is_text, opened_parquet
from tdtool.errors import InputError
from tdtool.kernels.edges_cpu import NO_BYTE

if TYPE_CHECKING:
    import pyarrow.parquet as pq

pc: Any = pyarrow.compute
_BATCH_ROWS = 1 << 18
_SAMPLE_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class EdgeColumns:
    """Which columns are read. ends : names of two; weight : name or None; numbers : whether both ends are numbers."""

    ends: tuple[str, str]
    weight: str | None
    numbers: bool
    notes: tuple[str, ...]

    @property
    def description(self) -> str:
        """The format, in words."""
        text = f"Parquet, ends in columns {self.ends[0]!r} and {self.ends[1]!r}"
        return text if self.weight is None else f"{text}, weights in column {self.weight!r}"


def read_parquet(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The edges of a Parquet table. Columns are chosen as in CSV: by the configuration, by usual names (source and
    target, from and to ...), else the first two; `weight` by its name. Rows without a name for an end go to the ledger.

    Raises InputError, with the row, for weights that are negative, missing or no number; ResourceError for more edges
    than fit.
    """
    kept = None if source.seekable else source.open_seekable()
    with opened_parquet(source, kept, lambda n: None) as file:
        columns = choose_columns(file, config, source.path)
        reading = TableReading(source.path, columns, memory)
        reading.run(file)
    for row in np.concatenate(reading.unnamed).tolist():
        ledger.skip(NO_NAME, source.path, row)
    return FoundGraph(
        tails=np.concatenate(reading.tails),
        heads=np.concatenate(reading.heads),
        names=None if columns.numbers else reading.codes.names(),
        weights=np.concatenate(reading.weights) if columns.weight else None,
        bipartite=config.bipartite,
        description=columns.description,
        notes=columns.notes,
    )


def choose_columns(file: pq.ParquetFile, config: GraphConfig, path: str) -> EdgeColumns:
    """The columns, by the user's word, their names, and a sample of the first rows."""
    sample = next(file.iter_batches(batch_size=_SAMPLE_ROWS), None)
    if sample is None:
        raise InputError("the table has no rows", path=path)
    names = list(sample.schema.names)
    if len(set(names)) < len(names):
        raise InputError("two of its columns have the same name", path=path)
    if len(names) < 2:
        raise InputError("the table has one column; an edge needs two", path=path)
    cells = [tuple(column_cells(column)) for column in sample.columns]
    ends = edge_ends(names, cells, config, path)
    weight, notes = edge_weight(names, cells, ends, config, path)
    kinds = [_kind(sample.schema.field(end), path) for end in ends]
    return EdgeColumns(
        (names[ends[0]], names[ends[1]]), names[weight] if weight >= 0 else None, kinds == ["number"] * 2, notes
    )


def _kind(field: pa.Field, path: str) -> str:
    """Whether a column of ends holds numbers or text; InputError for anything else."""
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return "number"
    if is_text(field.type):
        return "text"
    raise InputError(
        f"the column {field.name!r} holds {field.type}, and an end of an edge is a whole number or text",
        path=path,
        hint="name other columns with --columns",
    )


class TableReading:
    """The edges so far. codes : names as text and their numbers; tails, heads, weights : in parts; unnamed : rows left
    out, an end of whose edge has no name, in parts. first_row : rows of the table before those that are read here."""

    def __init__(self, path: str, columns: EdgeColumns, memory: int, *, first_row: int = 0) -> None:
        self.path, self.columns, self.memory = path, columns, memory
        self.codes = NameCodes()
        self.unnamed: list[NDArray[np.int64]] = []
        self.tails: list[NDArray[Any]] = []
        self.heads: list[NDArray[Any]] = []
        self.weights: list[NDArray[np.float64]] = []
        self._n_rows, self._n_edges = first_row, 0

    def run(self, file: pq.ParquetFile, row_groups: list[int] | None = None) -> None:
        """Read all row groups, or some."""
        columns = self.columns
        wanted = list(dict.fromkeys([*columns.ends, *([columns.weight] if columns.weight else [])]))
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted, row_groups=row_groups):
            self.take(batch)

    def take(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        columns = [batch.column(batch.schema.get_field_index(name)) for name in self.columns.ends]
        ends, rows = self._numbers(columns) if self.columns.numbers else self._coded(columns)
        unnamed = np.ones(batch.num_rows, np.bool_)
        unnamed[rows] = False
        self.unnamed.append(np.flatnonzero(unnamed) + self._n_rows + 1)
        self._n_edges += rows.size
        needed = edge_bytes(self._n_edges, weighted=self.columns.weight is not None) + self.codes.n_bytes
        check_memory(needed, self.memory, f"a graph of more than {self._n_edges:,} edges", self.path)
        self.tails.append(ends[0])
        self.heads.append(ends[1])
        if self.columns.weight is not None:
            self.weights.append(self._checked_weights(batch, self.columns.weight, rows))
        self._n_rows += batch.num_rows

    def _numbers(self, columns: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Both ends as numbers (2, edges), and the rows that have both (edges,)."""
        whole = [self._whole(column, name) for column, name in zip(columns, self.columns.ends, strict=True)]
        numbers = np.stack([column.fill_null(0).to_numpy(zero_copy_only=False) for column in whole])
        rows = np.flatnonzero(np.logical_and(*(column.is_valid().to_numpy(zero_copy_only=False) for column in whole)))
        return numbers[:, rows], rows

    def _coded(self, columns: list[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Codes of both ends (2, edges), and the rows that have names for both (edges,)."""
        texts, spans, size = [], [], 0
        for column, name in zip(columns, self.columns.ends, strict=True):
            words = column if is_text(column.type) else self._whole(column, name).cast(pa.string())
            words = as_binary(words).fill_null(b"")
            offsets = np.frombuffer(words.buffers()[1], np.int64)[words.offset : words.offset + len(words) + 1]
            data = words.buffers()[2]
            texts.append(np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[: offsets[-1]])
            spans += [offsets[:-1] + size, offsets[1:] + size, np.zeros(len(words), np.int64)]
            size += texts[-1].size
        places = np.stack(spans)
        rows = np.flatnonzero((places[1] > places[0]) & (places[4] > places[3]))
        return self.codes.add(places[:, rows], np.concatenate(texts), NO_BYTE), rows

    def _whole(self, column: Any, name: str) -> Any:
        """Numbers as int64; NaN, which is how pandas writes a missing one, as null."""
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            what = f"the column {name!r} holds numbers that are not whole, or beyond 64 bits"
            raise InputError(what, path=self.path) from error

    def _checked_weights(self, batch: pa.RecordBatch, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        column: Any = batch.column(batch.schema.get_field_index(name))
        try:
            values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)[rows]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            hint = "name another column with --weight, or none"
            raise InputError(
                f"the column {name!r} holds {column.type}, not numbers", path=self.path, hint=hint
            ) from error
        wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if wrong.size:
            at = int(wrong[0])
            check_weight(float(values[at]), name, self.path, self._n_rows + int(rows[at]) + 1)
        return values
