"""The whitened 3-star moment, against its tensor over all nodes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.moments.graph_embedding import GraphEmbedding
from tdtool.moments.three_star import ThreeStar
from tests import oracles_communities as oracles

Array = NDArray[np.float64]


def weighted_graph(n_nodes: int, rng: np.random.Generator) -> Array:
    """A connected graph with weights 1, 2, 3."""
    upper = np.triu(rng.integers(1, 4, (n_nodes, n_nodes)) * (rng.random((n_nodes, n_nodes)) < 0.5), 1)
    upper[np.arange(n_nodes - 1), np.arange(1, n_nodes)] = 2
    return (upper + upper.T).astype(float)


def whitened(adjacency: Array, k: int) -> tuple[GraphEmbedding, Array]:
    """The embedding for tau = 0, and the whitening W of rows p_x = A_x / d_x that makes its points: (n, k)."""
    embedding = GraphEmbedding(Graph.from_adjacency(adjacency), tau=0.0)
    shares = adjacency / adjacency.sum(axis=1, keepdims=True)
    return embedding, np.linalg.lstsq(shares, embedding.points(k), rcond=None)[0]


@pytest.mark.parametrize(("n_nodes", "k"), [(7, 3), (11, 5)])
def test_leaves_are_whitened(rng: np.random.Generator, n_nodes: int, k: int) -> None:
    """Points are W' p_x for what a centre sees of its leaves, p_x; W whitens the moment of two leaves."""
    adjacency = weighted_graph(n_nodes, rng)
    embedding, whitening = whitened(adjacency, k)
    shares = adjacency / adjacency.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares @ whitening, embedding.points(k), atol=1e-9)
    pairs = oracles.star_moments((shares,) * 3, embedding.node_weights)[1]
    np.testing.assert_allclose(whitening.T @ pairs @ whitening, np.eye(k), atol=1e-9)


@pytest.mark.parametrize(("n_nodes", "k"), [(7, 3), (11, 5)])
def test_apply_is_the_contraction_of_the_tensor(rng: np.random.Generator, n_nodes: int, k: int) -> None:
    """T_abc = sum_x d_x^-2 A_xa A_xb A_xc over the sum of degrees, every leaf projected by W."""
    adjacency = weighted_graph(n_nodes, rng)
    embedding, whitening = whitened(adjacency, k)
    tensor = oracles.projected(oracles.three_star(adjacency) / adjacency.sum(), whitening)
    directions = rng.standard_normal((k, k))
    moment = ThreeStar.of(embedding.points(k), embedding.node_weights)
    np.testing.assert_allclose(moment.apply(directions), oracles.along(tensor, directions), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("alpha0", [0.3, 2.0])
@pytest.mark.parametrize(("n_nodes", "k"), [(7, 3), (11, 5)])
def test_the_dirichlet_correction(rng: np.random.Generator, n_nodes: int, k: int, alpha0: float) -> None:
    """Correct the moments of all nodes first, then whiten by the corrected second one."""
    adjacency = weighted_graph(n_nodes, rng)
    embedding, whitening = whitened(adjacency, k)
    shares = adjacency / adjacency.sum(axis=1, keepdims=True)
    raw = oracles.star_moments((shares,) * 3, embedding.node_weights)
    np.testing.assert_allclose(raw[2], oracles.three_star(adjacency) / adjacency.sum(), atol=1e-12)
    second, third = oracles.dirichlet_corrected(*raw, alpha0)
    again = whitening @ np.real(scipy.linalg.inv(scipy.linalg.sqrtm(whitening.T @ second @ whitening)))
    moment = ThreeStar.of(embedding.points(k), embedding.node_weights, alpha0=alpha0)
    np.testing.assert_allclose(moment.points, shares @ again, atol=1e-8)
    directions = rng.standard_normal((k, k))
    expected = oracles.along(oracles.projected(third, again), directions)
    np.testing.assert_allclose(moment.apply(directions), expected, rtol=1e-7, atol=1e-7)


def test_the_correction_makes_dirichlet_moments_diagonal() -> None:
    """That is what it is for: alpha / (a (a + 1)) and 2 alpha / (a (a + 1) (a + 2)), nothing off the diagonal."""
    alpha = np.array([0.2, 0.7, 1.6])
    total = alpha.sum()
    second, third = oracles.dirichlet_corrected(*oracles.dirichlet_moments(alpha), total)
    np.testing.assert_allclose(second, np.diag(alpha / (total * (total + 1))), atol=1e-14)
    diagonal = np.zeros((3, 3, 3))
    diagonal[np.arange(3), np.arange(3), np.arange(3)] = 2 * alpha / (total * (total + 1) * (total + 2))
    np.testing.assert_allclose(third, diagonal, atol=1e-14)


def test_pure_nodes_of_disjoint_cliques_are_orthogonal_directions() -> None:
    """T is then sum lambda v v v with lambda = 1 / sqrt(share of the degrees), exactly."""
    adjacency = scipy.linalg.block_diag(*(np.ones((size, size)) - np.eye(size) for size in (3, 4, 6)))
    embedding = GraphEmbedding(Graph.from_adjacency(adjacency), tau=0.0)
    moment = ThreeStar.of(embedding.points(3), embedding.node_weights)
    volumes = np.array([6, 12, 30]) / 48
    directions = moment.points[[0, 3, 7]].T * np.sqrt(volumes)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(moment.apply(directions), directions / np.sqrt(volumes), atol=1e-9)


def test_without_a_correction_nothing_is_changed(rng: np.random.Generator) -> None:
    embedding, _ = whitened(weighted_graph(7, rng), 3)
    points = embedding.points(3)
    moment = ThreeStar.of(points, embedding.node_weights)
    np.testing.assert_array_equal(moment.points, points)
    np.testing.assert_array_equal(moment.second, np.eye(3))
    np.testing.assert_allclose(moment.first, np.sum(embedding.node_weights[:, None] * points, axis=0), atol=1e-14)
