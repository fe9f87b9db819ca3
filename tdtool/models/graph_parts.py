"""What of a graph is fitted: its large components; and how much its edges repeat each other."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.kernels import propagation_cpu
from tdtool.kernels.triangles_cpu import count_triangles

#: Communities of fewer nodes are none.
LEAST_MEMBERS = 3
_LEAST_NODES, _LEAST_SHARE = 10, 0.005


class UnsuitedError(ValueError):
    """The graph is not what the settings ask for; the message says why."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """large : (nodes fitted,) int64 nodes of the components that are fitted, ascending; n_large : these components;
    small : int64 nodes of each other component of at least three nodes, a community by itself, by their first nodes.
    """

    large: NDArray[np.int64]
    n_large: int
    small: list[NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Components:
    """Connected components. labels : (n,) int64, of each node, the largest is 0; sizes : (c,) int64, descending."""

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]


def find_components(graph: Graph) -> Components:
    """The connected components; a node without edges is one of its own."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    links = csr_array((np.ones(graph.neighbours.size, np.int8), graph.neighbours, graph.indptr), (graph.n_nodes,) * 2)
    n_components, labels = connected_components(links, directed=False)
    sizes = np.bincount(labels, minlength=n_components)
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(n_components, np.int64)
    place[order] = np.arange(n_components)
    return Components(place[labels], sizes[order])


def parts_of(graph: Graph) -> Parts:
    """Components of at least ten nodes and half a percent of all with edges are fitted; without one, the only one is.

    A small component would take an eigenvector of its own and tell nothing new: it is one community.
    """
    return parts_among(find_components(graph), int(np.count_nonzero(graph.n_neighbours)))


def parts_among(components: Components, linked: int) -> Parts:
    """The same from the components. linked : nodes that have edges."""
    labels, sizes = components.labels, components.sizes
    fitted = sizes >= max(_LEAST_NODES, _LEAST_SHARE * linked)
    whole = np.flatnonzero(sizes >= LEAST_MEMBERS)
    if not fitted.any() and len(whole) == 1:
        fitted[whole] = True
    order = np.argsort(labels, kind="stable")
    borders = np.concatenate([[0], np.cumsum(sizes)])
    small = [order[borders[c] : borders[c + 1]] for c in whole if not fitted[c]]
    return Parts(np.flatnonzero(fitted[labels]), int(fitted.sum()), sorted(small, key=lambda part: int(part[0])))


def subgraph(graph: Graph, nodes: NDArray[np.int64]) -> Graph:
    """The graph on some nodes (ascending) that have no edges to others."""
    if len(nodes) == graph.n_nodes:
        return graph
    place = np.full(graph.n_nodes, -1, np.int32)
    place[nodes] = np.arange(len(nodes), dtype=np.int32)
    counts = graph.n_neighbours[nodes]
    inside = np.repeat(place >= 0, graph.n_neighbours)
    return graph.cut_out(
        nodes,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        neighbours=place[graph.neighbours[inside]],
        weights=None if graph.weights is None else graph.weights[inside],
    )


def reordered(graph: Graph, order: NDArray[np.int64] | None) -> Graph:
    """The graph with node order[i] as node i; neighbours are not sorted then. None: as it is.

    The sides of a bipartite graph must stay apart.
    """
    if order is None:
        return graph
    weights = np.empty(0, np.float32) if graph.weights is None else graph.weights
    indptr, neighbours, moved = propagation_cpu.reordered(graph.indptr, graph.neighbours, weights, order)
    return graph.cut_out(order, indptr, neighbours, None if graph.weights is None else moved)


def transitivity(graph: Graph) -> float:
    """Share of the paths of two edges that a third closes, whatever the weights; 0 without such paths."""
    degrees = graph.n_neighbours.astype(np.float64)
    paths = float((degrees * (degrees - 1)).sum()) / 2
    return 3 * count_triangles(graph.indptr, graph.neighbours) / paths if paths else 0.0
