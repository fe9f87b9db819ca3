"""Eigenvectors of the normalised adjacency, against its definition and a dense solver."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.moments import graph_embedding
from tdtool.moments.graph_embedding import GraphEmbedding

Array = NDArray[np.float64]


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Weighted and connected, 61 nodes in blocks of uneven sizes."""
    planted = planted_disjoint([11, 17, 33], mean_degree=8, mixing=0.2, rng=rng)
    edges = np.concatenate([planted.edges, np.column_stack((np.arange(60), np.arange(1, 61)))])
    return Graph.from_edges(edges, weights=rng.integers(1, 5, len(edges)), n_nodes=61)


@pytest.fixture
def by_lanczos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small graphs are solved as large ones are."""
    monkeypatch.setattr(graph_embedding, "_DENSE_NODES", 7)


def normalised(graph: Graph, tau: float) -> Array:
    """(D + tau)^-1/2 A (D + tau)^-1/2, tau in mean degrees."""
    adjacency = graph.adjacency().toarray()
    raised = adjacency.sum(axis=1) + tau * adjacency.sum() / len(adjacency)
    return np.asarray(adjacency / np.sqrt(np.outer(raised, raised)))


@pytest.mark.parametrize("tau", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("k", [1, 3, 61])
def test_points_are_white(graph: Graph, tau: float, k: int) -> None:
    """sum w x x' = I, with weights (d + tau) / sum."""
    embedding = GraphEmbedding(graph, tau=tau)
    points, weights = embedding.points(k), embedding.node_weights
    assert points.shape == (61, k)
    np.testing.assert_allclose(points.T @ (weights[:, None] * points), np.eye(k), atol=1e-12)
    raised = graph.degrees + tau * graph.mean_degree
    np.testing.assert_allclose(weights, raised / raised.sum(), rtol=1e-14)


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_they_are_the_leading_eigenvectors(graph: Graph, tau: float) -> None:
    embedding, matrix = GraphEmbedding(graph, tau=tau), normalised(graph, tau)
    values = embedding.eigenvalues(5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1][:5], atol=1e-12)
    vectors = embedding.points(5) * np.sqrt(embedding.node_weights)[:, None]
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-12)


@pytest.mark.usefixtures("by_lanczos")
@pytest.mark.parametrize("bulk", [False, True])
def test_lanczos_finds_the_same(graph: Graph, bulk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if bulk:
        monkeypatch.setattr(graph_embedding, "_BULK_NODES", 7)
    embedding, matrix = GraphEmbedding(graph), normalised(graph, 0.01)
    values, points = embedding.eigenvalues(4), embedding.points(4)
    assert embedding._vectors.dtype == (np.float32 if bulk else np.float64)
    assert embedding._vectors.shape[1] < 61
    exact = np.linalg.eigvalsh(matrix)[::-1][:4]
    np.testing.assert_allclose(values, exact, atol=1e-5)
    assert np.all(np.diff(values) < 0)
    vectors = points * np.sqrt(embedding.node_weights)[:, None]
    np.testing.assert_allclose(matrix @ vectors, vectors * exact, atol=1e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-5)
    assert (values.dtype, points.dtype) == (np.float64, np.float64)


def same_up_to_sign(found: Array, expected: Array, atol: float) -> None:
    signs = np.sign(np.sum(found * expected, axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=atol)


def test_what_was_found_first_stays(graph: Graph) -> None:
    """The first columns of more are those of fewer, whichever was asked for first."""
    embedding = GraphEmbedding(graph)
    more, fewer = embedding.points(7), embedding.points(3)
    np.testing.assert_array_equal(fewer, more[:, :3])
    same_up_to_sign(GraphEmbedding(graph).points(3), fewer, 1e-9)


@pytest.mark.usefixtures("by_lanczos")
def test_columns_of_lanczos_are_nested(graph: Graph) -> None:
    growing = GraphEmbedding(graph)
    fewer = growing.points(3)
    more = growing.points(8)
    np.testing.assert_array_equal(growing.points(3), more[:, :3])
    same_up_to_sign(more[:, :3], fewer, 5e-3)
    np.testing.assert_allclose(growing.eigenvalues(8)[:3], GraphEmbedding(graph).eigenvalues(3), atol=1e-5)


def test_equal_eigenvalues_span_the_same(rng: np.random.Generator) -> None:
    """Two components of two eigenvalues 1: any basis will do, but it tells the components apart."""
    edges = np.array([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 6), (6, 3), (3, 5)])
    embedding = GraphEmbedding(Graph.from_edges(edges), tau=0.0)
    np.testing.assert_allclose(embedding.eigenvalues(2), [1, 1], atol=1e-12)
    points = embedding.points(2)
    gram = points @ points.T
    degrees = np.array([2, 2, 2, 3, 2, 3, 2])
    volumes = np.where(np.arange(7) < 3, 6, 10)
    together = np.equal.outer(np.arange(7) < 3, np.arange(7) < 3)
    np.testing.assert_allclose(gram, together * degrees.sum() / volumes[:, None], atol=1e-10)


def test_the_first_direction_knows_degrees_only(graph: Graph) -> None:
    """Without regularisation the first eigenvalue is 1, and all nodes have the same coordinate there."""
    embedding = GraphEmbedding(graph, tau=0.0)
    assert embedding.eigenvalues(1)[0] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.abs(embedding.points(1)), 1, atol=1e-9)


def test_the_unit_of_weights_does_not_matter(graph: Graph) -> None:
    edges = np.argwhere(np.triu(graph.adjacency().toarray()) > 0)
    weights = graph.adjacency().toarray()[tuple(edges.T)]
    other = Graph.from_edges(edges, weights=1000 * weights, n_nodes=61)
    same_up_to_sign(GraphEmbedding(other).points(4), GraphEmbedding(graph).points(4), 1e-9)


def test_a_node_without_edges_is_finite() -> None:
    embedding = GraphEmbedding(Graph.from_edges(np.array([(0, 1), (1, 2)]), n_nodes=4))
    assert np.isfinite(embedding.points(4)).all()
    assert embedding.n_nodes == 4


def test_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="4 eigenvectors of a graph of 3 nodes"):
        GraphEmbedding(Graph.from_edges(np.array([(0, 1), (1, 2)]))).points(4)


def test_the_same_bits_where_lanczos_exhausts_its_start() -> None:
    """In equal cliques the start is an eigenvector, and a new one is drawn: not from the system's entropy."""
    inside = np.argwhere(np.triu(np.ones((11, 11)), 1))
    graph = Graph.from_edges(np.concatenate([inside + 11 * i for i in range(40)]), n_nodes=440)
    first, second = (GraphEmbedding(graph).points(30) for _ in range(2))
    np.testing.assert_array_equal(first, second)
