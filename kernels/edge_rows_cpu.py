"""Edges to rows of neighbours: counting sorts both ways, so that O(m) steps give sorted rows, in any order of edges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

#: Weights of the two directions of an edge that differ by less than this share are the same number.
SAME = 1e-6


class HeadRows(NamedTuple):
    """Edges by their head. starts : (n + 1,) int64; tails : (m,) int32; weights : (m,) float64, (0,) without weights;
    weighted; n_loops, n_zero : edges left out, those from a node to itself and those of weight 0."""

    starts: NDArray[np.int64]
    tails: NDArray[np.int32]
    weights: NDArray[np.float64]
    weighted: bool
    n_loops: int
    n_zero: int


class EdgeRows(NamedTuple):
    """An undirected graph, every edge from both ends, and what was merged on the way.

    indptr : (n + 1,) int64; neighbours : (2m,) int32, ascending in each row; weights : (2m,) float32, or None;
    n_repeated : edges given again in the same direction; n_both : pairs of nodes with edges in both directions;
    halved : every pair was, with equal weights, and each weight counts once.
    """

    indptr: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    n_repeated: int
    n_both: int
    halved: bool


def rows_by_head(
    tails: NDArray[np.int32], heads: NDArray[np.int32], weights: NDArray[np.float64] | None, n_nodes: int
) -> HeadRows:
    """The first of two steps to the rows of a graph, after which the edges themselves may go.

    tails, heads : (m,) int32 below n_nodes; weights : (m,) float64, finite, from 0 on. Raises ValueError for arrays of
    different lengths and nodes out of range.
    """
    if tails.shape != heads.shape or (weights is not None and weights.shape != tails.shape):
        raise ValueError("tails, heads and weights differ in length")
    if tails.size and not (min(tails.min(), heads.min()) >= 0 and max(tails.max(), heads.max()) < n_nodes):
        raise ValueError(f"an edge has a node that is not among 0 ... {n_nodes - 1}")
    values = np.empty(0) if weights is None else weights
    starts, n_loops, n_zero = _count_heads(tails, heads, values, n_nodes)
    size = int(starts[-1])
    sources, in_values = np.empty(size, np.int32), np.empty(size if weights is not None else 0)
    _fill_heads(tails, heads, values, starts.copy(), sources, in_values)
    return HeadRows(starts, sources, in_values, weights is not None, int(n_loops), int(n_zero))


def symmetric_rows(rows: HeadRows) -> EdgeRows:
    """The rows of a graph whose edges may be given in any order, direction and number of times.

    Without weights an edge counts once however often it is there. With them those of the same two nodes add up, in an
    order of their own, so that not even rounding depends on the order of the edges; where every edge is there in both
    directions with equal weights (a symmetric matrix) each counts once. A sum beyond float32 is infinite.
    """
    weighted = rows.weighted
    out_start, targets, out_values = _turned(rows.starts, rows.tails, rows.weights)
    del rows  # a caller that has let go of it too has its memory back
    out_start, n_repeated = _merge_repeated(out_start, targets, out_values)
    size = int(out_start[-1])
    in_start, sources, in_values = _turned(out_start, targets[:size], out_values[:size])
    n_both, n_same = _count_both(out_start, targets, out_values, in_start, sources, in_values)
    halved = weighted and 0 < n_both == n_same and 2 * n_both == size
    indptr, neighbours = np.empty(out_start.size, np.int64), np.empty(2 * (size - int(n_both)), np.int32)
    merged = np.empty(neighbours.size if weighted else 0, np.float32)
    _merge_directions(out_start, targets, out_values, in_start, sources, in_values, halved, indptr, neighbours, merged)
    return EdgeRows(indptr, neighbours, merged if weighted else None, int(n_repeated), int(n_both), halved)


@jit
def _count_heads(tails, heads, values, n_nodes):  # type: ignore[no-untyped-def]
    """Where the row of each head begins (n + 1,); loops; edges of weight 0."""
    starts, n_loops, n_zero = np.zeros(n_nodes + 1, np.int64), 0, 0
    for e in range(heads.size):
        if tails[e] == heads[e]:
            n_loops += 1
        elif values.size and values[e] == 0.0:
            n_zero += 1
        else:
            starts[heads[e] + 1] += 1
    for node in range(n_nodes):
        starts[node + 1] += starts[node]
    return starts, n_loops, n_zero


@jit
def _fill_heads(tails, heads, values, places, sources, in_values):  # type: ignore[no-untyped-def]
    """Write each edge's tail (and weight) into the row of its head. places : starts of the rows, is used up."""
    for e in range(heads.size):
        if tails[e] != heads[e] and not (values.size and values[e] == 0.0):
            place = places[heads[e]]
            places[heads[e]] = place + 1
            sources[place] = tails[e]
            if values.size:
                in_values[place] = values[e]


@jit
def _turned(starts, columns, values):  # type: ignore[no-untyped-def]
    """The transpose of rows; its rows ascend, whatever the order within the rows that come in."""
    n_nodes = starts.size - 1
    turned, places = np.zeros(n_nodes + 1, np.int64), np.empty(n_nodes, np.int64)
    for e in range(columns.size):
        turned[columns[e] + 1] += 1
    for node in range(n_nodes):
        turned[node + 1] += turned[node]
        places[node] = turned[node]
    rows, row_values = np.empty(columns.size, np.int32), np.empty(values.size)
    for node in range(n_nodes):
        for e in range(starts[node], starts[node + 1]):
            place = places[columns[e]]
            places[columns[e]] = place + 1
            rows[place] = node
            if values.size:
                row_values[place] = values[e]
    return turned, rows, row_values


@jit
def _merge_repeated(starts, columns, values):  # type: ignore[no-untyped-def]
    """Make equal neighbours of a sorted row one, in place; weights add up in ascending order. Returns new starts."""
    new, size, n_repeated = np.zeros(starts.size, np.int64), 0, 0
    for node in range(starts.size - 1):
        first, stop = starts[node], starts[node + 1]
        while first < stop:
            last = first + 1
            while last < stop and columns[last] == columns[first]:
                last += 1
            columns[size] = columns[first]
            if values.size:
                if last - first > 2:
                    values[first:last].sort()
                total = 0.0
                for e in range(first, last):
                    total += values[e]
                values[size] = total
            n_repeated += last - first - 1
            size += 1
            first = last
        new[node + 1] = size
    return new, n_repeated


@jit
def _count_both(starts, columns, values, other_starts, other_columns, other_values):  # type: ignore[no-untyped-def]
    """Pairs of nodes with edges in both directions, and those of them whose weights are equal."""
    n_both, n_same = 0, 0
    for node in range(starts.size - 1):
        a, b = starts[node], other_starts[node]
        while a < starts[node + 1] and b < other_starts[node + 1]:
            if columns[a] == other_columns[b]:
                if columns[a] > node:
                    n_both += 1
                    if values.size and abs(values[a] - other_values[b]) <= SAME * max(values[a], other_values[b]):
                        n_same += 1
                a, b = a + 1, b + 1
            elif columns[a] < other_columns[b]:
                a += 1
            else:
                b += 1
    return n_both, n_same


@jit
def _merge_directions(  # type: ignore[no-untyped-def]
    starts, columns, values, other_starts, other_columns, other_values, halved, indptr, neighbours, merged
):
    """Merge the two rows of each node, neighbours it points to and those that point to it, into one."""
    place = 0
    indptr[0] = 0
    for node in range(starts.size - 1):
        a, b = starts[node], other_starts[node]
        while a < starts[node + 1] or b < other_starts[node + 1]:
            from_a = b >= other_starts[node + 1] or (a < starts[node + 1] and columns[a] <= other_columns[b])
            from_b = a >= starts[node + 1] or (b < other_starts[node + 1] and other_columns[b] <= columns[a])
            neighbours[place] = columns[a] if from_a else other_columns[b]
            if values.size:
                total = (values[a] if from_a else 0.0) + (other_values[b] if from_b else 0.0)
                merged[place] = np.float32(0.5 * total if halved else total)
            a, b = a + from_a, b + from_b
            place += 1
        indptr[node + 1] = place
