"""A graph made of parts, one step after the other in this process: what a cluster does, without one."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from tdtool.config import GraphConfig, SourceConfig
from tdtool.data.corpus import partition_starts
from tdtool.data.graph import Graph
from tdtool.data.graph_numbering import number_nodes
from tdtool.data.graph_ranges import assembled, block_of, cut_block, cut_ranges, entries_by_range, load_of
from tdtool.data.graph_summary import check_any, summary, unit_weight
from tdtool.data.name_tables import in_buckets, merged_names, stacked
from tdtool.data.readers.graph_formats import sniff
from tdtool.data.readers.graph_splits import first_lines, plan_splits, read_split
from tdtool.data.readers.streams import Input

N_BUCKETS = 3


def read_by_parts(path: Path, config: GraphConfig, *, split_bytes: int, range_entries: int) -> Graph:
    """The graph of `read_graph`, but for its source."""
    source = Input(str(path), SourceConfig())
    kind = sniff(source) if config.format == "auto" else config.format
    splits = plan_splits(source, kind, config, split_bytes=split_bytes)
    assert splits is not None
    found = [read_split(splits, part) for part in splits.parts]
    facts = [each.facts for each in found]
    first_lines(splits, facts)
    tables = [each.names if all(fact.numbers for fact in facts) else each.names.as_text() for each in found]
    shared = [pair for table in tables for pair in in_buckets(table, N_BUCKETS)]
    names = stacked(
        [merged_names(table for own, table in shared[::-1] if own == bucket) for bucket in range(N_BUCKETS)]
        if shared
        else []
    )
    numbering, ids, n_left = number_nodes(names, splits.path, bipartite=config.bipartite or splits.bipartite)
    loads = [load_of(each, numbering, len(ids)) for each in found]
    check_any(splits, facts, loads)
    ranges = cut_ranges(np.sum([load.entries for load in loads], axis=0), len(ids), range_entries)
    unit = unit_weight(facts) is not None
    entries = [pair for each in found for pair in entries_by_range(each, numbering, ranges, unit=unit)]
    blocks = [
        block_of(
            (part for own, part in entries[::-1] if own == number), int(first), int(last), weighted=splits.weighted
        )
        for number, (first, last) in enumerate(itertools.pairwise(ranges))
    ]
    about = summary(splits, facts, loads, [block.facts for block in blocks], (len(ids), n_left))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([block.lengths for block in blocks]), dtype=np.int64)])
    starts = partition_starts(indptr)
    pieces = [piece for block in blocks for piece in cut_block(block, starts, about.weighing)]
    rows = [assembled(piece for piece in pieces[::-1] if piece.index == index) for index in range(starts.size - 1)]
    assert [row.start for row in rows] == starts[:-1].tolist()
    weights = [row.weights for row in rows if row.weights is not None]
    return Graph(
        indptr,
        np.concatenate([row.neighbours for row in rows]),
        np.concatenate(weights) if weights else None,
        ids,
        n_left,
        about.description,
        about.notes,
        ledger=about.ledger,
    )


def assert_same(graph: Graph, other: Graph) -> None:
    """Equal in all that the content of a store is made of, to the bit."""
    assert graph.names() == other.names()
    assert isinstance(graph.ids, list) == isinstance(other.ids, list)
    assert graph.n_left == other.n_left
    np.testing.assert_array_equal(graph.indptr, other.indptr)
    np.testing.assert_array_equal(graph.neighbours, other.neighbours)
    assert (graph.weights is None) == (other.weights is None)
    if graph.weights is not None and other.weights is not None:
        assert graph.weights.tobytes() == other.weights.tobytes()
    assert graph.indptr.dtype == other.indptr.dtype
    assert graph.neighbours.dtype == other.neighbours.dtype
    assert (graph.description, graph.notes) == (other.description, other.notes)
    assert graph.ledger.as_dict() == other.ledger.as_dict()
