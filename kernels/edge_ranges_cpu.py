"""Rows of some nodes of a graph from sorted entries, so that each range of nodes can be made by itself.

An entry is an edge seen from one of its ends: node * 2^32 + neighbour * 2 + direction, int64, where the direction is 0
when the edge goes out from the node and 1 when it comes in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.edge_rows_cpu import SAME

#: Bits of an entry below the node.
NODE_SHIFT = 32


class RangeRows(NamedTuple):
    """The rows of a range of n_r nodes.

    lengths : (n_r,) int32; neighbours : (entries,) int32, ascending in each row; totals : (entries,) float64, the
    weights of both directions added up, (0,) without weights; n_out : different edges going out from these nodes;
    n_both, n_same : pairs of nodes, the smaller one here, with edges in both directions, and with equal weights.
    """

    lengths: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    totals: NDArray[np.float64]
    n_out: int
    n_both: int
    n_same: int


def range_rows(entries: NDArray[np.int64], weights: NDArray[np.float64] | None, first: int, last: int) -> RangeRows:
    """Merge the entries of nodes first ... last - 1; every edge that has one of them for an end must be there.

    entries : (e,) int64, ascending; weights : (e,) float64, those of equal entries in any order, or None; both are used
    up. Sums are those of edge_rows_cpu.symmetric_rows, to the bit. Raises ValueError for entries out of order or of
    other nodes.
    """
    if weights is not None and weights.shape != entries.shape:
        raise ValueError("entries and weights differ in length")
    if entries.size and not (first <= entries[0] >> NODE_SHIFT and entries[-1] >> NODE_SHIFT < last):
        raise ValueError(f"an entry has a node that is not among {first} ... {last - 1}")
    if not bool((entries[:-1] <= entries[1:]).all()):
        raise ValueError("the entries are not in order")
    values = np.empty(0) if weights is None else weights
    lengths, neighbours = np.zeros(last - first, np.int32), np.empty(entries.size, np.int32)
    size, n_out, n_both, n_same = map(int, _merge(entries, values, first, lengths, neighbours))
    return RangeRows(lengths, neighbours[:size].copy(), values[:size].copy(), n_out, n_both, n_same)


@jit
def _total(values, start, stop):  # type: ignore[no-untyped-def]
    """The sum of the weights of one edge, in ascending order; rounding is then the same wherever they came from."""
    if stop - start > 2:
        values[start:stop].sort()
    total = 0.0
    for e in range(start, stop):
        total += values[e]
    return total


@jit
def _merge(entries, values, first_node, lengths, neighbours):  # type: ignore[no-untyped-def]
    """Entries of the same two nodes become one, weights in place: (entries left, n_out, n_both, n_same)."""
    size, n_out, n_both, n_same, start = 0, 0, 0, 0, 0
    while start < entries.size:
        pair = entries[start] >> 1
        incoming, stop = start, start
        while stop < entries.size and entries[stop] >> 1 == pair:
            incoming += 1 - (entries[stop] & 1)
            stop += 1
        node, other = pair >> (NODE_SHIFT - 1), pair & 0x7FFFFFFF
        both = start < incoming < stop
        n_out += start < incoming
        n_both += both and other > node
        if values.size:
            out_total, in_total = _total(values, start, incoming), _total(values, incoming, stop)
            if both and other > node and abs(out_total - in_total) <= SAME * max(out_total, in_total):
                n_same += 1
            values[size] = out_total + in_total
        neighbours[size] = other
        lengths[node - first_node] += 1
        size += 1
        start = stop
    return size, n_out, n_both, n_same
