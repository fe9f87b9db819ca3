"""Loops over the entries of a sparse tensor: numba on the CPU, without the interpreter's lock, along the rank.

Letters: N order, R rank, nnz number of entries. stacked : (sum of the sizes, R) float64, the factors one below the
other, mode m from row offsets[m] on. A call handles the output rows of the roots first .. last - 1 alone, so that
threads which share the roots out write to different rows, each in the same order as one thread would.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit, jit_sums


@jit
def tree_mttkrp(rows, start, n_levels, values, stacked, first, last, out):  # type: ignore[no-untyped-def]
    """MTTKRP of the root mode of a compressed sparse fibre tree with at least two levels.

    rows : (nodes,), level by level from the roots: the row of `out` for a root, of `stacked` for the others; start :
    (inner nodes + 1,), node x has the children start[x] .. start[x + 1] - 1; the last level's nodes, one an entry, have
    the values : (nnz,) float64. out : (I, R) float64, set in the roots' rows.

    Source: Smith, Ravindran, Sidiropoulos, Karypis 2015, "SPLATT: efficient and parallel sparse tensor-matrix
    multiplication", section IV, here for any order and without recursion.
    """
    bottom, leaves = n_levels - 2, start.size - 1
    sums = np.zeros((n_levels - 1, stacked.shape[1]))
    node = np.zeros(n_levels - 1, np.int64)
    for root in range(first, last):
        node[0] = root
        level = 0
        while True:
            while level < bottom:
                node[level + 1] = start[node[level]]
                level += 1
            total = sums[level]
            for leaf in range(start[node[level]], start[node[level] + 1]):
                value, row = values[leaf - leaves], stacked[rows[leaf]]
                for r in range(total.size):
                    total[r] += value * row[r]
            while level > 0:
                below, above, row = sums[level], sums[level - 1], stacked[rows[node[level]]]
                for r in range(below.size):
                    above[r] += below[r] * row[r]
                    below[r] = 0
                node[level] += 1
                if node[level] < start[node[level - 1] + 1]:
                    break
                level -= 1
            if level == 0:
                break
        target = out[rows[root]]
        for r in range(target.size):
            target[r] = sums[0, r]
            sums[0, r] = 0


@jit
def list_mttkrp(order, start, mode, places, values, stacked, offsets, first, last, out):  # type: ignore[no-untyped-def]
    """MTTKRP of a mode from the coordinates, for tensors whose fibres are too short for a tree to pay.

    order : (nnz,), the entries by their coordinate in the mode; start : (roots + 1,), where in it each begins;
    places : (N, nnz), the coordinates; values : (nnz,) float64. out : (I, R) float64, set in the roots' rows.
    """
    row = np.empty(stacked.shape[1])
    for root in range(first, last):
        target = out[places[mode, order[start[root]]]]
        target[:] = 0
        for place in range(start[root], start[root + 1]):
            e = order[place]
            row[:] = values[e]
            for m in range(places.shape[0]):
                if m != mode:
                    other = stacked[offsets[m] + places[m, e]]
                    for r in range(row.size):
                        row[r] *= other[r]
            for r in range(row.size):
                target[r] += row[r]


@jit_sums
def model_at(places, weights, stacked, offsets, out):  # type: ignore[no-untyped-def]
    """out[e] = sum_r weights_r prod_m factor_m[places[m, e], r]. places : (N, n); weights : (R,); out : (n,)."""
    row = np.empty(weights.size)
    for e in range(out.size):
        row[:] = weights
        for m in range(places.shape[0]):
            other = stacked[offsets[m] + places[m, e]]
            for r in range(row.size):
                row[r] *= other[r]
        total = 0.0
        for r in range(row.size):
            total += row[r]
        out[e] = total
