"""Which components are fitted, graphs cut out and put in another order, and how often triangles close."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.data.graph import Graph
from tdtool.models import graph_parts
from tests import oracles_communities as oracles
from tests.small_graphs import cliques, thirteen


def circles(*sizes: int, n_nodes: int | None = None) -> Graph:
    """Circles side by side, then nodes without edges."""
    edges, first = [], 0
    for size in sizes:
        edges += [(first + i, first + (i + 1) % size) for i in range(size)]
        first += size
    return Graph.from_edges(np.array(edges), n_nodes=n_nodes)


# ---- parts


def test_large_components_are_fitted_and_small_ones_are_communities() -> None:
    edges = [(i, i + 1) for i in range(10)] + [(12, 13)] + [(14, 15), (15, 16), (16, 14)] + [(20, 21), (21, 22)]
    edges += [(node, 30) for node in range(31, 42)]
    parts = graph_parts.parts_of(Graph.from_edges(np.array(edges), n_nodes=45))
    assert parts.large.tolist() == [*range(11), *range(30, 42)]
    assert parts.n_large == 2
    assert [part.tolist() for part in parts.small] == [[14, 15, 16], [20, 21, 22]]


def test_a_component_alone_is_fitted_however_small() -> None:
    parts = graph_parts.parts_of(Graph.from_edges(np.array([(3, 4), (4, 7), (1, 2)]), n_nodes=9))
    assert (parts.large.tolist(), parts.n_large, parts.small) == ([3, 4, 7], 1, [])


def test_what_is_large_grows_with_the_graph() -> None:
    """Half a percent of 3,000 nodes are 15."""
    sizes = (14, 15, 2950)
    parts = graph_parts.parts_of(circles(*sizes, n_nodes=3000))
    assert len(parts.large) == 2965
    assert [len(part) for part in parts.small] == [14]


def test_only_small_components() -> None:
    parts = graph_parts.parts_of(circles(3, 4, 9, n_nodes=18))
    assert parts.large.size == 0
    assert parts.n_large == 0
    assert [len(part) for part in parts.small] == [3, 4, 9]


def test_no_edges() -> None:
    parts = graph_parts.parts_of(Graph.from_edges(np.zeros((0, 2), np.int64), n_nodes=5))
    assert (parts.large.size, parts.n_large, parts.small) == (0, 0, [])


# ---- subgraph


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_left", [None, 5])
def test_a_subgraph_is_the_rows_and_columns(rng: np.random.Generator, weighted: bool, n_left: int | None) -> None:
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    assert graph_parts.subgraph(graph, np.arange(13)) is graph
    wide = np.array([1, 2, 4, 5, 7, 9, 10, 12, 13, 15, 17, 18, 19])
    left = None if n_left is None else 8
    edges = np.argwhere(np.triu(adjacency))
    weights = adjacency[tuple(edges.T)] if weighted else None
    large = Graph.from_edges(wide[edges], weights=weights, n_nodes=20, n_left=left)
    found = graph_parts.subgraph(large, wide)
    np.testing.assert_array_equal(found.adjacency().toarray(), adjacency)
    assert (found.weights is None) == (not weighted)
    assert found.n_left == n_left
    np.testing.assert_array_equal(found.ids, wide)


@pytest.mark.parametrize("weighted", [False, True])
def test_another_order(rng: np.random.Generator, weighted: bool) -> None:
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=None)
    assert graph_parts.reordered(graph, None) is graph
    order = rng.permutation(13)
    found = graph_parts.reordered(graph, order)
    np.testing.assert_array_equal(found.adjacency().toarray(), adjacency[np.ix_(order, order)])
    np.testing.assert_array_equal(found.degrees, graph.degrees[order])


# ---- transitivity


def test_transitivity_is_the_share_of_closed_paths(rng: np.random.Generator) -> None:
    graph, adjacency = thirteen(rng, weighted=True, n_left=None)
    paths = ((adjacency > 0).astype(int) @ (adjacency > 0)).sum() - 2 * graph.n_edges
    expected = 3 * oracles.triangles(adjacency) / (paths / 2)
    assert 0.1 < graph_parts.transitivity(graph) == pytest.approx(expected)


def test_transitivity_of_cliques_circles_and_one_edge() -> None:
    assert graph_parts.transitivity(cliques(3, 5, 8)) == 1
    assert graph_parts.transitivity(circles(5, 7)) == 0
    assert graph_parts.transitivity(Graph.from_edges(np.array([(0, 1)]))) == 0
