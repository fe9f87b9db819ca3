"""Memberships from the whitened 3-star moment: exact where nodes are pure, or mixed as the prior says."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.decompose.power import leading_rows, random_orthogonal
from tdtool.models.graph_parts import UnsuitedError
from tdtool.models.spectral_memberships import nearly_pure, spectral_memberships, split_memberships
from tdtool.moments.graph_embedding import GraphEmbedding

Array = NDArray[np.float64]
SIZES = (4, 7, 13)


def cliques(*sizes: int) -> Graph:
    return Graph.from_adjacency(scipy.linalg.block_diag(*(np.ones((size, size)) - np.eye(size) for size in sizes)))


def blocks(sizes: tuple[int, ...]) -> Array:
    return np.repeat(np.eye(len(sizes)), sizes, axis=0)


def matched(found: Array, truth: Array) -> Array:
    """Columns in the order of the truth."""
    order = np.argmax(truth.T @ found, axis=1)
    assert sorted(order) == list(range(truth.shape[1]))
    return found[:, order]


# ---- the start


def test_the_start_is_orthogonal_and_takes_points_that_lie_far_apart(rng: np.random.Generator) -> None:
    """Points along three orthogonal directions of uneven numbers, and some of small weight between them."""
    directions = random_orthogonal(3, rng)
    points = np.concatenate([np.repeat(directions, (2, 9, 5), axis=0), directions.mean(axis=0) * np.ones((7, 3))])
    start = leading_rows(points, np.repeat([1.0, 0.01], (16, 7)))
    np.testing.assert_allclose(start.T @ start, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(directions @ start), axis=1), [[0, 0, 1]] * 3, atol=1e-9)


def test_the_start_weighs_points(rng: np.random.Generator) -> None:
    """A far point that hardly counts is not taken."""
    directions = random_orthogonal(2, rng)
    points = np.concatenate([directions, [5 * (directions[0] + directions[1])]])
    start = leading_rows(points, np.array([1.0, 1.0, 1e-9]))
    np.testing.assert_allclose(np.sort(np.abs(directions @ start), axis=1), [[0, 1]] * 2, atol=1e-9)


# ---- memberships


@pytest.mark.parametrize("alpha0", [0.0, 1e-6])
def test_pure_nodes_exactly(alpha0: float) -> None:
    graph = cliques(*SIZES)
    embedding = GraphEmbedding(graph, tau=0.0)
    found, fit = spectral_memberships(embedding.points(3), embedding.node_weights, alpha0=alpha0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(matched(found, blocks(SIZES)), blocks(SIZES), atol=1e-4)
    volumes = np.array([size * (size - 1) for size in SIZES])
    np.testing.assert_allclose(fit.weights, np.sqrt(volumes.sum() / volumes), rtol=1e-4)


@pytest.mark.parametrize("alpha", [(0.2, 0.5, 1.0), (0.1, 0.1, 0.1)])
def test_dirichlet_memberships(rng: np.random.Generator, alpha: tuple[float, ...]) -> None:
    """Nodes whose leaves follow h exactly: with the alpha0 that drew them h is found, without it is not."""
    truth = rng.dirichlet(alpha, 20_000)
    weights = np.full(len(truth), 1 / len(truth))
    points = truth @ np.linalg.inv(scipy.linalg.sqrtm(truth.T @ (weights[:, None] * truth)))
    errors = []
    for alpha0 in (sum(alpha), 0.0):
        found, _ = spectral_memberships(points, weights, alpha0=alpha0)
        errors.append(np.abs(matched(found, truth) - truth).sum(axis=1).mean() / 2)
    assert errors[0] < 0.004
    assert errors[1] > 0.015


def test_rows_sum_to_1_or_are_nothing(rng: np.random.Generator) -> None:
    """A node against all directions has no positive coordinate."""
    embedding = GraphEmbedding(cliques(5, 8), tau=0.01)
    points = embedding.points(2).copy()
    points[0] *= -1
    found, _ = spectral_memberships(points, embedding.node_weights)
    assert found.min() >= 0
    assert not found[0].any()
    np.testing.assert_allclose(found[1:].sum(axis=1), 1, rtol=1e-6)


def test_four_parts(rng: np.random.Generator) -> None:
    """Blocks of a planted graph; nodes outside of the centres go with their neighbours among them."""
    sizes = (40, 60, 80)
    planted = planted_disjoint(sizes, mean_degree=30, mixing=0.05, rng=rng)
    found = split_memberships(Graph.from_edges(planted.edges, n_nodes=180), 3, tau=0.01, seed=1)
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    found = matched(found, blocks(sizes))
    assert (found.argmax(axis=1) == np.repeat([0, 1, 2], sizes)).mean() > 0.98
    assert found[blocks(sizes) > 0].mean() > 0.85


def test_nodes_far_from_all_centres_may_be_anywhere(rng: np.random.Generator) -> None:
    planted = planted_disjoint((40, 60), mean_degree=20, mixing=0.05, rng=rng)
    found = split_memberships(Graph.from_edges(planted.edges, n_nodes=102), 2, tau=0.01, seed=1)
    part = np.random.default_rng(1).permutation(102) % 4
    assert part[100] != 0
    np.testing.assert_array_equal(found[100], [0.5, 0.5])


def test_what_four_parts_cannot_do() -> None:
    with pytest.raises(UnsuitedError, match="hardly linked"):
        split_memberships(Graph.from_edges(np.array([(0, leaf) for leaf in range(1, 40)])), 2, tau=0.01, seed=0)
    with pytest.raises(UnsuitedError, match="3 communities from four parts of about 3 nodes"):
        split_memberships(cliques(5, 8), 3, tau=0.01, seed=0)


def test_nearly_pure() -> None:
    memberships = np.array([[0.5, 0.3, 0.2], [0, 0, 0], [0.4, 0.6, 0], [0.5, 0, 0.5]], np.float32)
    expected = [[0.95, 0.03, 0.02], [0, 0, 0], [0.04, 0.96, 0], [0.95, 0, 0.05]]
    found = nearly_pure(memberships, mixed=0.1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_array_equal(nearly_pure(memberships, mixed=1.0), memberships)
