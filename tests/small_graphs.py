"""Small graphs that tests of communities share, with what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import PlantedGraph
from tdtool.models.cover import Cover
from tdtool.models.overlap_model import Strengths
from tests import oracles_communities as oracles

Array = NDArray[Any]


def linked(upper: Array, *, weighted: bool, n_left: int | None, rng: np.random.Generator) -> tuple[Graph, Array]:
    """The graph of the pairs in `upper`, (n, n) bool, that may be linked, and its matrix; weights from 0.25 to 2.75."""
    n_nodes = len(upper)
    allowed = np.zeros((n_nodes, n_nodes), bool)
    allowed[tuple(np.array(oracles.pairs(n_nodes, n_left)).T)] = True
    matrix = (upper & allowed) * (rng.integers(1, 12, upper.shape) / 4 if weighted else 1.0)
    edges = np.argwhere(matrix)
    weights = matrix[tuple(edges.T)] if weighted else None
    return Graph.from_edges(edges, weights=weights, n_nodes=n_nodes, n_left=n_left), matrix + matrix.T


def thirteen(rng: np.random.Generator, *, weighted: bool, n_left: int | None) -> tuple[Graph, Array]:
    """A graph of 13 nodes, every one with edges, and its matrix."""
    upper = rng.random((13, 13)) < 0.3
    upper[np.arange(8) % 5, np.arange(5, 13)] = True
    return linked(upper, weighted=weighted, n_left=n_left, rng=rng)


def cliques(*sizes: int) -> Graph:
    """Complete graphs side by side."""
    return Graph.from_adjacency(scipy.linalg.block_diag(*(np.ones((size, size)) - np.eye(size) for size in sizes)))


def graph_of(planted: PlantedGraph, weights: Array | None = None) -> Graph:
    return Graph.from_edges(planted.edges, weights=weights, n_nodes=planted.n_nodes)


def truth_of(planted: PlantedGraph) -> Cover:
    return Cover.from_csr(planted.memberships)


def on_support(dense: Array) -> Strengths:
    """Strengths of the entries of F (n, k) that are not 0; their expected links are F too."""
    nodes, communities = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=len(dense)))]).astype(np.int64)
    values = dense[nodes, communities].astype(np.float64)
    return Strengths(indptr, communities.astype(np.int32), values, values, dense.shape[1])


def as_matrix(found: Strengths, values: Array | None = None) -> Array:
    """F (n, k) dense, or other `values` (entries,) in its places."""
    dense = np.zeros((len(found.indptr) - 1, found.n_communities))
    dense[found.nodes, found.communities] = found.values if values is None else values
    return dense
