"""Edge lists and tables of edges in parts that are read apart: byte ranges of whole lines, row groups of Parquet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.config import GraphConfig, SourceConfig
from tdtool.data.ledger import EXAMPLES_KEPT
from tdtool.data.name_tables import NameTable
from tdtool.data.readers.byte_ranges import ByteRange, cut_bytes, open_range
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.graph_edges import EdgeReading, joined, missing_edges, rows_begin
from tdtool.data.readers.graph_formats import TEXT
from tdtool.data.readers.graph_names import NameCodes, NumberCodes
from tdtool.data.readers.graph_parquet import EdgeColumns, TableReading, choose_columns
from tdtool.data.readers.graph_table import EdgePlan, plan_edges
from tdtool.data.readers.places import absolute
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_parquet import opened_parquet
from tdtool.errors import InputError

#: One process holds one split at a time: what may be allocated is for its operator to say, not for the reader.
_NO_LIMIT = 1 << 62
#: A range of bytes, or the numbers of row groups.
Part = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class EdgeSplits:
    """How the parts of an input are read.

    path : as the user wrote it; place : the same from any directory; plan : what a line or row means; parts : byte
    ranges, or numbers of row groups, in the order of the file; begin : bytes before the first line of edges.
    """

    path: str
    place: str
    plan: EdgePlan | EdgeColumns
    source: SourceConfig
    parts: tuple[Part, ...]
    begin: int = 0

    @property
    def weighted(self) -> bool:
        """Whether the edges have weights."""
        return self.plan.layout.weight >= 0 if isinstance(self.plan, EdgePlan) else self.plan.weight is not None

    @property
    def directed(self) -> bool | None:
        """Whether the input says that it is; None: it does not say."""
        return self.plan.directed if isinstance(self.plan, EdgePlan) else None

    @property
    def bipartite(self) -> bool:
        """Whether the input says that it is."""
        return isinstance(self.plan, EdgePlan) and self.plan.bipartite

    @property
    def first_line(self) -> int:
        """The number of the first line of edges, or row."""
        return self.plan.lines + 1 if isinstance(self.plan, EdgePlan) else 1

    def notes(self, n_edges: int) -> tuple[str, ...]:
        """What is to be said of the input, in which so many edges were found."""
        plan = self.plan
        return (*plan.notes, *missing_edges(plan.promised, n_edges)) if isinstance(plan, EdgePlan) else plan.notes


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """What a part is like. Lines are counted from its own first, 0.

    n_lines : lines or rows; n_names : different names; numbers : whether all of them are whole numbers; n_unnamed,
    unnamed : edges left out for want of a name, and the lines of the first of them; one_weight : that of all edges when
    it is the same, NaN when there are several, None without edges or weights; error : what is wrong, and in which line.
    """

    n_lines: int = 0
    n_edges: int = 0
    n_names: int = 0
    numbers: bool = True
    n_unnamed: int = 0
    unnamed: tuple[int, ...] = ()
    one_weight: float | None = None
    error: tuple[str, int | None, str | None] | None = None


@dataclasses.dataclass(frozen=True)
class FoundEdges:
    """The edges of one part. tails, heads : (m,) int32, positions in names; weights : (m,) float64 or None."""

    tails: NDArray[np.int32]
    heads: NDArray[np.int32]
    weights: NDArray[np.float64] | None
    names: NameTable
    facts: SplitFacts


def plan_splits(source: Input, kind: str, config: GraphConfig, *, split_bytes: int) -> EdgeSplits | None:
    """How to read an input of the format `kind` in parts of about `split_bytes`; None where it has to be read at once.

    Raises InputError for an input without rows, with one column, or without the columns that the user names.
    """
    size = source.size
    if size is None or source.compression is not None or size > config.max_bytes:
        return None
    limits = SourceConfig(max_ratio=config.max_ratio, max_bytes=config.max_bytes)
    place = absolute(source.place)
    if kind in TEXT:
        plan = plan_edges(source, kind, config)
        begin = rows_begin(source, plan)
        ranges = [part for part in cut_bytes(size, split_bytes) if part.stop > begin]
        ranges[0] = ByteRange(0, ranges[0].stop)  # what stands before the edges is in the first, however long it is
        return EdgeSplits(source.path, place, plan, limits, tuple(ranges), begin)
    if kind == "parquet":
        with opened_parquet(source, None, lambda n: None) as file:
            columns = choose_columns(file, config, source.path)
            groups = [file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups)]
        return EdgeSplits(source.path, place, columns, limits, tuple(_together(groups, split_bytes)))
    return None


def read_split(splits: EdgeSplits, part: Part) -> FoundEdges:
    """The edges of one part, read in the same way wherever it happens. What is wrong with a line is in the facts."""
    try:
        if isinstance(splits.plan, EdgePlan):
            return _read_lines(splits, splits.plan, ByteRange(*part))
        return _read_groups(splits, splits.plan, part)
    except InputError as error:
        if error.path != splits.path:
            raise
        facts = SplitFacts(error=(error.what, error.line, error.hint))
        nothing = np.zeros(0, np.int32)
        return FoundEdges(nothing, nothing, None, NameTable.of_numbers(np.zeros(0, np.int64)), facts)


def first_lines(splits: EdgeSplits, facts: Sequence[SplitFacts]) -> list[int]:
    """The number of each part's first line in the file. Raises the InputError of the first line that is wrong."""
    first, line = [], splits.first_line
    for fact in facts:
        if fact.error is not None:
            what, at, hint = fact.error
            raise InputError(what, path=splits.path, line=None if at is None else line + at, hint=hint)
        first.append(line)
        line += fact.n_lines
    return first


def _together(sizes: list[int], split_bytes: int) -> Iterator[tuple[int, ...]]:
    """Numbers of row groups, those read together in one tuple."""
    waiting: list[int] = []
    held = 0
    for group, size in enumerate(sizes):
        if waiting and held + size > split_bytes:
            yield tuple(waiting)
            waiting, held = [], 0
        waiting.append(group)
        held += size
    if waiting:
        yield tuple(waiting)


def _read_lines(splits: EdgeSplits, plan: EdgePlan, part: ByteRange) -> FoundEdges:
    """Lines that begin in a range of bytes; of the first one, what is behind the header."""
    n_lines = 0

    def counted() -> Iterator[tuple[NDArray[np.uint8], int]]:
        nonlocal n_lines
        with open_range(splits.place, part, splits.source, splits.path) as stream:
            stream.read(0 if part.start else splits.begin)
            for block, first in whole_lines(stream, splits.path, 0):
                n_lines = first + int(np.count_nonzero(block == 10))
                yield block, first

    reading = EdgeReading(splits.path, plan, _NO_LIMIT)
    reading.run(counted())
    weights = joined(reading.weights, np.float64) if splits.weighted else None
    ends = joined(reading.tails, np.int32), joined(reading.heads, np.int32)
    return _found(*ends, weights, _names(reading.codes), joined(reading.unnamed, np.int64), n_lines)


def _read_groups(splits: EdgeSplits, columns: EdgeColumns, groups: Part) -> FoundEdges:
    """Row groups of a Parquet file; rows are counted from the first of them."""
    source = Input(splits.path, splits.source, place=splits.place)
    with opened_parquet(source, None, lambda n: None) as file:
        n_rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        reading = TableReading(splits.path, columns, _NO_LIMIT, first_row=-1)
        reading.run(file, list(groups))
    weights = joined(reading.weights, np.float64) if splits.weighted else None
    unnamed = joined(reading.unnamed, np.int64)
    if not columns.numbers:
        ends = joined(reading.tails, np.int32), joined(reading.heads, np.int32)
        return _found(*ends, weights, _names(reading.codes), unnamed, n_rows)
    codes = NumberCodes()
    encoded = [codes.encode(joined(parts, np.int64)) for parts in (reading.tails, reading.heads)]
    return _found(encoded[0], encoded[1], weights, _names(codes), unnamed, n_rows)


def _names(codes: NumberCodes | NameCodes) -> NameTable:
    if isinstance(codes, NumberCodes):
        return NameTable.of_numbers(codes.names())
    return NameTable.of_text(*codes.arrays)


def _found(
    tails: NDArray[np.int32],
    heads: NDArray[np.int32],
    weights: NDArray[np.float64] | None,
    names: NameTable,
    unnamed: NDArray[np.int64],
    n_lines: int,
) -> FoundEdges:
    """The edges of a part with what is to be known of them."""
    facts = SplitFacts(
        n_lines=n_lines,
        n_edges=tails.size,
        n_names=names.size,
        numbers=names.numbers is not None,
        n_unnamed=unnamed.size,
        unnamed=tuple(unnamed[:EXAMPLES_KEPT].tolist()),
        one_weight=_one_weight(weights),
    )
    return FoundEdges(tails, heads, weights, names.with_roles(tails, heads), facts)


def _one_weight(weights: NDArray[np.float64] | None) -> float | None:
    if weights is None or not weights.size:
        return None
    return float(weights[0]) if bool((weights == weights[0]).all()) else float("nan")
