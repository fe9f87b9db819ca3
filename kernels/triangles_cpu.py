"""Triangles of a graph, each counted once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.threads import blocks, run_parallel

_EDGE_WORK = 128


def count_triangles(indptr: NDArray[np.int64], neighbours: NDArray[np.int32]) -> int:
    """indptr (n + 1,), neighbours (2m,) ascending in a node, edges from both ends. Costs at most m^1.5 steps.

    Source: Chiba and Nishizeki 1985, "Arboricity and subgraph listing algorithms": every edge looks towards the end of
    higher degree only.
    """
    n_nodes = len(indptr) - 1
    degrees = np.diff(indptr)
    higher = np.empty(n_nodes + 1, np.int64)
    kept = np.empty(len(neighbours) // 2, np.int32)
    _upwards(indptr, neighbours, degrees, higher, kept)
    cuts = blocks(n_nodes, float(len(neighbours)) * _EDGE_WORK)
    counts = np.zeros(len(cuts), np.int64)

    def work(place: int, nodes: slice) -> None:
        counts[place] = _count(nodes.start, nodes.stop, higher, kept)

    tasks: list[Any] = [partial(work, place, nodes) for place, nodes in enumerate(cuts)]
    run_parallel(tasks)
    return int(counts.sum())


@jit
def _upwards(indptr, neighbours, degrees, higher, kept):  # type: ignore[no-untyped-def]
    """Of each node the neighbours of higher degree, among equals of higher number."""
    place = 0
    for u in range(degrees.size):
        higher[u] = place
        for end in range(indptr[u], indptr[u + 1]):
            v = neighbours[end]
            if degrees[v] > degrees[u] or (degrees[v] == degrees[u] and v > u):
                kept[place] = v
                place += 1
    higher[degrees.size] = place


@jit
def _count(first, last, higher, kept):  # type: ignore[no-untyped-def]
    marked = np.zeros(higher.size - 1, np.bool_)
    total = 0
    for u in range(first, last):
        for end in range(higher[u], higher[u + 1]):
            marked[kept[end]] = True
        for end in range(higher[u], higher[u + 1]):
            v = kept[end]
            for further in range(higher[v], higher[v + 1]):
                total += marked[kept[further]]
        for end in range(higher[u], higher[u + 1]):
            marked[kept[end]] = False
    return total
