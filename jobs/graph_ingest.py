"""From a file of edges to a graph on executors, the same as data.graph.read_graph makes, to the bit.

Parts of the file are read side by side, each under names of its own. The names are merged by shares on the executors,
and the driver puts them in order; executors then number the ends of their edges and send both directions of each to
the range of nodes it belongs to, where rows are sorted and merged. The driver learns how long each row is, cuts the
canonical partitions, and rows move to theirs. It holds the names, and two numbers for each node.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import GraphConfig
from tdtool.data.corpus import partition_starts
from tdtool.data.graph import opened_input, provenance
from tdtool.data.graph_build import Names
from tdtool.data.graph_numbering import number_nodes
from tdtool.data.graph_parquet_store import write_graph_manifest, write_node_part
from tdtool.data.graph_ranges import (
    Entries,
    RowBlock,
    Weighing,
    assembled,
    block_of,
    cut_block,
    cut_ranges,
    entries_by_range,
    load_of,
)
from tdtool.data.graph_summary import Summary, check_any, summary, unit_weight
from tdtool.data.graph_writer import write_graph_rows
from tdtool.data.ledger import Ledger
from tdtool.data.name_tables import NameTable, in_buckets, merged_names, stacked
from tdtool.data.parquet_manifest import new_store
from tdtool.data.parquet_parts import NodeRows
from tdtool.data.readers import places
from tdtool.data.readers.graph_splits import EdgeSplits, FoundEdges, SplitFacts, first_lines, plan_splits, read_split
from tdtool.data.readers.streams import Input
from tdtool.jobs.gathering import Gathering
from tdtool.jobs.progress import carried, run_job

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext

#: Bytes of a part of the input: small files still spread over the cores, of large ones a task holds little.
_SMALLEST_SPLIT, _LARGEST_SPLIT = 1 << 20, 1 << 25
_SPLITS_A_SLOT = 3
#: Entries of a range of nodes, unless one node has more: a task sorts them in memory.
_RANGE_ENTRIES = 1 << 22
#: Names that one task merges, roughly.
_BUCKET_NAMES = 1 << 19
#: Bytes of results that one job may send to the driver, and what a name takes of them at most, usually.
_MOST_COLLECTED, _NAME_BYTES = 1 << 27, 64


@dataclasses.dataclass(frozen=True)
class GraphPlan:
    """A file of edges that can be read in parts. source : its provenance is told once it is read; kind : its format."""

    source: Input
    kind: str
    config: GraphConfig
    splits: EdgeSplits

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.source.size or 0


@dataclasses.dataclass(frozen=True)
class SparkGraph:
    """A graph whose rows are on executors; see data.graph.Graph.

    indptr : (n + 1,) int64; starts : (P + 1,) int64, first node of each partition; rows : (index, rows) of each
    partition, one to a partition of Spark's.
    """

    gathering: Gathering
    indptr: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: Names
    n_left: int | None
    weighted: bool
    description: str
    notes: tuple[str, ...]
    source: dict[str, Any]
    ledger: Ledger
    rows: RDD[NodeRows]

    @property
    def n_nodes(self) -> int:
        """Nodes, those without edges too."""
        return self.indptr.size - 1

    @property
    def n_edges(self) -> int:
        """Edges, each counted once."""
        return int(self.indptr[-1]) // 2

    def names(self) -> list[str]:
        """The name of every node."""
        return self.ids if isinstance(self.ids, list) else [str(number) for number in self.ids.tolist()]

    def attributes(self) -> dict[str, Any]:
        """What a store says of it, as JSON values."""
        about = {"description": self.description, "notes": list(self.notes), "source": self.source}
        return {**about, "ledger": self.ledger.as_dict()}

    def partitions(self) -> Iterator[NodeRows]:
        """The rows of all partitions, in order, as many at a time as the driver has room for."""
        n_bytes = np.diff(self.indptr[self.starts]) * (8 if self.weighted else 4) + 8 * np.diff(self.starts)
        yield from fetched(self.rows, n_bytes.tolist(), "writing")


def plan_graph(path: str, config: GraphConfig, slots: int = 1) -> GraphPlan | None:
    """How to read a file of edges in parts; None for what is read at once. slots : tasks that run at the same time.

    Errors as of `read_graph`, of what can be told from the first bytes.
    """
    if path == "-" or not places.is_file(path):
        return None
    source, kind = opened_input(path, config)
    wanted = _SPLITS_A_SLOT * max(slots, 1)
    split_bytes = min(max((source.size or 0) // wanted, _SMALLEST_SPLIT), _LARGEST_SPLIT)
    splits = plan_splits(source, kind, config, split_bytes=split_bytes)
    return None if splits is None else GraphPlan(source, kind, config, splits)


@contextlib.contextmanager
def ingest_graph(
    context: SparkContext, plan: GraphPlan, *, range_entries: int = _RANGE_ENTRIES
) -> Iterator[SparkGraph]:
    """Read a graph; its rows are on the executors until the block ends. range_entries : that a task sorts at a time.

    Errors as of data.graph.read_graph.
    """
    with Gathering(context) as gathering:
        yield _Ingest(gathering, plan, range_entries).graph()


def write_graph_store(
    graph: SparkGraph, output: str, attributes: dict[str, Any], *, parquet: bool, force: bool = False
) -> None:
    """Write a store: parquet, by the executors, else one HDF5 file by the driver. attributes : more to say of it."""
    about = {**graph.attributes(), **attributes}
    if not parquet:
        write_graph_rows(
            Path(output),
            graph.partitions(),
            graph.indptr,
            graph.starts,
            graph.names(),
            n_left=graph.n_left,
            weighted=graph.weighted,
            attributes=about,
            force=force,
        )
        return
    with new_store(output, force=force) as place:
        write = carried(functools.partial(write_node_part, place))
        parts = graph.gathering.collected(graph.rows.map(write), "writing")
        write_graph_manifest(
            output, parts, graph.names(), n_left=graph.n_left, weighted=graph.weighted, attributes=about
        )


def waves(n_bytes: Sequence[int], most: int) -> Iterator[range]:
    """Partitions to be fetched at a time: those that are `most` bytes together, or one. n_bytes : of each."""
    first, held = 0, 0
    for index, size in enumerate(n_bytes):
        if index > first and held + size > most:
            yield range(first, index)
            first, held = index, 0
        held += size
    if len(n_bytes):
        yield range(first, len(n_bytes))


def fetched(rdd: RDD[Any], n_bytes: Sequence[int], about: str) -> Iterator[Any]:
    """All elements of an RDD, in order, as many at a time as may be sent. n_bytes : of each of its partitions."""
    for wave in waves(n_bytes, _MOST_COLLECTED):
        yield from run_job(rdd.context, about, functools.partial(rdd.context.runJob, rdd, list, list(wave)))


@dataclasses.dataclass(frozen=True)
class _Ingest:
    """One file on its way to a graph."""

    gathering: Gathering
    plan: GraphPlan
    range_entries: int

    def graph(self) -> SparkGraph:
        """The graph; where something is wrong with a line, the first such line is told."""
        splits, gathering = self.plan.splits, self.gathering
        found = self._read()
        facts: list[SplitFacts] = gathering.collected(found.map(_facts), "reading")
        first_lines(splits, facts)
        bipartite = self.plan.config.bipartite or splits.bipartite
        numbering, ids, n_left = number_nodes(self._names(found, facts), splits.path, bipartite=bipartite)
        sent = gathering.send(numbering)
        del numbering
        n_nodes = len(ids)
        loads = gathering.collected(found.map(carried(lambda edges: load_of(edges, sent.value, n_nodes))), "counting")
        check_any(splits, facts, loads)
        ranges = cut_ranges(np.sum([load.entries for load in loads], axis=0), n_nodes, self.range_entries)
        blocks = self._blocks(found, sent, ranges, unit=unit_weight(facts) is not None)
        known = gathering.collected(blocks.map(lambda block: block.facts), "sorting")
        gathering.release(found)
        about = summary(splits, facts, loads, known, (n_nodes, n_left))
        lengths = fetched(blocks.map(_lengths), (4 * np.diff(ranges)).tolist(), "row lengths")
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(list(lengths)), dtype=np.int64)])
        starts = partition_starts(indptr)
        return self._made(ids, n_left, indptr, starts, about, self._partitions(blocks, starts, about.weighing))

    def _read(self) -> RDD[FoundEdges]:
        plan = self.gathering.send(dataclasses.replace(self.plan.splits, parts=()))
        parts = self.plan.splits.parts
        given = self.gathering.context.parallelize(parts, max(len(parts), 1))
        return self.gathering.hold(given.map(carried(lambda part: read_split(plan.value, part))))

    def _names(self, found: RDD[FoundEdges], facts: Sequence[SplitFacts]) -> NameTable:
        """All names, each once: every executor merges a share of them."""
        n_names, numbers = sum(fact.n_names for fact in facts), all(fact.numbers for fact in facts)
        n_buckets = max(-(-n_names // _BUCKET_NAMES), 1)

        def give(edges: FoundEdges) -> list[tuple[int, NameTable]]:
            return in_buckets(edges.names if numbers else edges.names.as_text(), n_buckets)

        def take(pairs: Iterable[tuple[int, NameTable]]) -> Iterator[NameTable]:
            yield merged_names(table for _, table in pairs)

        merged = found.flatMap(carried(give)).partitionBy(n_buckets, _itself).mapPartitions(carried(take))
        n_bytes = [min(n_names, _BUCKET_NAMES) * _NAME_BYTES] * n_buckets
        return stacked(list(fetched(merged, n_bytes, "names")))

    def _blocks(self, found: RDD[FoundEdges], sent: Any, ranges: NDArray[np.int64], *, unit: bool) -> RDD[RowBlock]:
        """The rows of each range of nodes, held by the executors."""
        weighted, cuts = self.plan.splits.weighted, self.gathering.send(ranges)

        def give(edges: FoundEdges) -> Iterator[tuple[int, Entries]]:
            return entries_by_range(edges, sent.value, cuts.value, unit=unit)

        def take(number: int, pairs: Iterable[tuple[int, Entries]]) -> Iterator[RowBlock]:
            first, last = int(cuts.value[number]), int(cuts.value[number + 1])
            yield block_of((entries for _, entries in pairs), first, last, weighted=weighted)

        shared = found.flatMap(carried(give)).partitionBy(ranges.size - 1, _itself)
        return self.gathering.hold(shared.mapPartitionsWithIndex(carried(take), True))

    def _partitions(self, blocks: RDD[RowBlock], starts: NDArray[np.int64], weighing: Weighing) -> RDD[NodeRows]:
        """The rows of each canonical partition; nothing is held but the pieces on their way."""
        sent = self.gathering.send(starts)

        def give(block: RowBlock) -> Iterator[tuple[int, NodeRows]]:
            return ((piece.index, piece) for piece in cut_block(block, sent.value, weighing))

        def take(pairs: Iterable[tuple[int, NodeRows]]) -> Iterator[NodeRows]:
            yield assembled(piece for _, piece in pairs)

        moved = blocks.flatMap(carried(give)).partitionBy(starts.size - 1, _itself)
        return moved.mapPartitions(carried(take), True)

    def _made(
        self,
        ids: Names,
        n_left: int | None,
        indptr: NDArray[np.int64],
        starts: NDArray[np.int64],
        about: Summary,
        rows: RDD[NodeRows],
    ) -> SparkGraph:
        with log.task(f"digest of {self.plan.source.path}"):
            source = provenance(self.plan.source, self.plan.kind)
        return SparkGraph(
            gathering=self.gathering,
            indptr=indptr,
            starts=starts,
            ids=ids,
            n_left=n_left,
            weighted=about.weighing.stored,
            description=about.description,
            notes=about.notes,
            source=source,
            ledger=about.ledger,
            rows=rows,
        )


def _itself(number: int) -> int:
    return number


def _facts(edges: FoundEdges) -> SplitFacts:
    return edges.facts


def _lengths(block: RowBlock) -> NDArray[np.int32]:
    return block.lengths
