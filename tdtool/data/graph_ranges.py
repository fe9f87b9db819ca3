"""From edges in parts to the rows of a graph: pure steps, each of one part, one range of nodes or one partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph_build import LEAST_WEIGHT, Tally, too_heavy
from tdtool.data.graph_numbering import Numbering
from tdtool.data.parquet_parts import NodeRows
from tdtool.data.readers.graph_splits import FoundEdges
from tdtool.kernels.edge_ranges_cpu import NODE_SHIFT, range_rows

#: Entries of a part for some nodes: (e,) int64 ascending, and (e,) float64 weights or None.
Entries = tuple[NDArray[np.int64], NDArray[np.float64] | None]

#: The nodes are counted in about so many bins to find ranges of equal work.
_BINS = 1 << 12


class Load(NamedTuple):
    """What a part brings. entries : (bins,) int64, of each bin of nodes; n_loops, n_zero : edges left out."""

    entries: NDArray[np.int64]
    n_loops: int
    n_zero: int


@dataclasses.dataclass(frozen=True)
class RowBlock:
    """The rows of nodes first, first + 1, ... lengths : (nodes,) int32; neighbours : (entries,) int32; totals :
    (entries,) float64, weights of both directions added up, or None; facts."""

    first: int
    lengths: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    totals: NDArray[np.float64] | None
    facts: BlockFacts


class BlockFacts(NamedTuple):
    """n_out, n_both, n_same : see RangeRows; least, most : total weights, NaN where there are none."""

    n_entries: int
    n_out: int
    n_both: int
    n_same: int
    least: float
    most: float


class Weighing(NamedTuple):
    """How totals become weights. stored : whether they are kept at all (not where all are 1); halved : each is half."""

    stored: bool
    halved: bool


def load_of(found: FoundEdges, numbering: Numbering, n_nodes: int) -> Load:
    """How many entries a part has for each bin of nodes, before equal ones are merged."""
    tails, heads, _, n_loops, n_zero = _linking(found, numbering)
    width, n_bins = _bin_width(n_nodes), -(-n_nodes // _bin_width(n_nodes))
    counts = np.bincount(tails // width, minlength=n_bins) + np.bincount(heads // width, minlength=n_bins)
    return Load(counts.astype(np.int64), n_loops, n_zero)


def cut_ranges(entries: NDArray[np.int64], n_nodes: int, range_entries: int) -> NDArray[np.int64]:
    """Ranges of nodes with about `range_entries` entries each, at least one node : (ranges + 1,) int64.

    entries : (bins,) int64, of all parts together.
    """
    behind = np.cumsum(entries)
    wanted = np.arange(range_entries, int(behind[-1]), range_entries)
    cuts = (np.searchsorted(behind, wanted) + 1) * _bin_width(n_nodes)
    return np.unique(np.concatenate([[0], cuts[cuts < n_nodes], [n_nodes]])).astype(np.int64)


def entries_by_range(
    found: FoundEdges, numbering: Numbering, ranges: NDArray[np.int64], *, unit: bool
) -> Iterator[tuple[int, Entries]]:
    """Both directions of a part's edges, for each range of nodes that has any. unit : every weight counts 1."""
    tails, heads, weights, _, _ = _linking(found, numbering)
    out = (tails.astype(np.int64) << NODE_SHIFT) | (heads.astype(np.int64) << 1)
    entries = np.concatenate([out, (heads.astype(np.int64) << NODE_SHIFT) | (tails.astype(np.int64) << 1) | 1])
    if weights is None:
        entries, values = np.unique(entries), None  # without weights an edge counts once however often it is there
    else:
        order = np.argsort(entries)
        entries, values = entries[order], np.ones(order.size) if unit else np.tile(weights, 2)[order]
    cuts = np.searchsorted(entries, ranges << NODE_SHIFT)
    for number in np.flatnonzero(np.diff(cuts)).tolist():
        part = slice(int(cuts[number]), int(cuts[number + 1]))
        yield number, (entries[part].copy(), None if values is None else values[part].copy())


def block_of(parts: Iterable[Entries], first: int, last: int, *, weighted: bool) -> RowBlock:
    """The rows of nodes first ... last - 1 from the entries of all parts; the order of the parts does not matter."""
    pieces = list(parts)
    entries = np.concatenate([np.zeros(0, np.int64), *(piece for piece, _ in pieces)])
    values = None
    if weighted:
        order = np.argsort(entries)
        entries = entries[order]
        values = np.concatenate([np.zeros(0), *(weights for _, weights in pieces if weights is not None)])[order]
    else:
        entries.sort()
    rows = range_rows(entries, values, first, last)
    totals = rows.totals if weighted else None
    some = totals is not None and totals.size > 0
    least, most = (float(rows.totals.min()), float(rows.totals.max())) if some else (np.nan, np.nan)
    facts = BlockFacts(rows.neighbours.size, rows.n_out, rows.n_both, rows.n_same, least, most)
    return RowBlock(first, rows.lengths, rows.neighbours, totals, facts)


def tally_of(n_found: int, loads: Iterable[Load], blocks: Sequence[BlockFacts], *, weighted: bool) -> Tally:
    """What became of all edges. n_found : those that the parts handed out; blocks : of all ranges."""
    n_loops, n_zero = map(sum, zip(*((load.n_loops, load.n_zero) for load in loads), strict=True))
    n_entries, n_out, n_both, n_same = (sum(int(block[column]) for block in blocks) for column in range(4))
    halved = weighted and 0 < n_both == n_same and 2 * n_both == n_out
    return Tally(n_found, n_zero, n_loops, n_found - n_zero - n_loops - n_out, n_both, halved, n_entries // 2)


def weighing_of(blocks: Sequence[BlockFacts], tally: Tally, path: str) -> tuple[Weighing, tuple[float, float] | None]:
    """How totals become weights, and the least and the largest of those, None where all are 1.

    Raises InputError for weights beyond float32.
    """
    totals = np.array([[block.least, block.most] for block in blocks if not np.isnan(block.least)])
    if not totals.size:
        return Weighing(stored=False, halved=False), None
    span = _as_weights(np.array([totals[:, 0].min(), totals[:, 1].max()]), halved=tally.halved)
    if bool((span == 1.0).all()):
        return Weighing(stored=False, halved=False), None
    if span[1] == np.inf:
        raise too_heavy(path)
    return Weighing(stored=True, halved=tally.halved), (float(span[0]), float(span[1]))


def cut_block(block: RowBlock, starts: NDArray[np.int64], weighing: Weighing) -> Iterator[NodeRows]:
    """The rows of a block, those of each partition apart. starts : (P + 1,) int64, first node of each partition."""
    last = block.first + block.lengths.size
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(block.lengths, dtype=np.int64)])
    index = int(np.searchsorted(starts, block.first, side="right")) - 1
    weights = None
    if weighing.stored and block.totals is not None:
        weights = _as_weights(block.totals, halved=weighing.halved)
    first = block.first
    while first < last:
        stop = min(int(starts[index + 1]), last)
        bounds = indptr[first - block.first : stop - block.first + 1]
        part = slice(int(bounds[0]), int(bounds[-1]))
        piece = None if weights is None else weights[part].copy()
        yield NodeRows(index, first, bounds - bounds[0], block.neighbours[part].copy(), piece)
        first, index = stop, index + 1


def assembled(pieces: Iterable[NodeRows]) -> NodeRows:
    """One partition from its pieces, at least one, in any order."""
    parts = sorted(pieces, key=lambda piece: piece.start)
    lengths = np.concatenate([np.diff(piece.indptr) for piece in parts])
    weights = [piece.weights for piece in parts if piece.weights is not None]
    return NodeRows(
        parts[0].index,
        parts[0].start,
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.concatenate([piece.neighbours for piece in parts]),
        np.concatenate(weights) if weights else None,
    )


def _linking(
    found: FoundEdges, numbering: Numbering
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None, int, int]:
    """The nodes and weights of the edges that count, those left out as loops, and others left out as of weight 0."""
    tail_nodes, head_nodes = numbering.find(found.names)
    tails, heads = tail_nodes[found.tails], head_nodes[found.heads]
    loops = tails == heads
    zero = np.zeros(tails.size, np.bool_) if found.weights is None else (found.weights == 0.0) & ~loops
    kept = ~(loops | zero)
    weights = None if found.weights is None else found.weights[kept]
    return tails[kept], heads[kept], weights, int(np.count_nonzero(loops)), int(np.count_nonzero(zero))


def _bin_width(n_nodes: int) -> int:
    return max(-(-n_nodes // _BINS), 1)


def _as_weights(totals: NDArray[np.float64], *, halved: bool) -> NDArray[np.float32]:
    """Totals as they are stored, of the same shape."""
    with np.errstate(over="ignore", under="ignore"):
        weights = (0.5 * totals if halved else totals).astype(np.float32)
    return np.maximum(weights, LEAST_WEIGHT)
