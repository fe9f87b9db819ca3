"""EM of the overlapping block model: where it goes, against the likelihood over all pairs of nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.models import overlap_em
from tdtool.models.overlap_model import Background
from tests import oracles_communities as oracles
from tests.small_graphs import as_matrix, linked, on_support, thirteen

Array = NDArray[Any]
kinds = pytest.mark.parametrize(("weighted", "n_left"), [(False, None), (True, None), (False, 5), (True, 5)])


@pytest.fixture
def start(rng: np.random.Generator) -> NDArray[np.float32]:
    """Memberships of 13 nodes in 3 communities, rows sum to 1; the last node has none."""
    shares = rng.dirichlet([0.5] * 3, 13).astype(np.float32)
    shares[-1] = 0
    return shares


# ---- propensities


@kinds
def test_propensity_is_where_the_likelihood_is_stationary(
    rng: np.random.Generator, weighted: bool, n_left: int | None
) -> None:
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    theta = overlap_em.fit_propensity(graph)
    slopes = oracles.slopes(adjacency, theta[:, None], 0.0, theta, n_left)[:, 0]
    np.testing.assert_allclose(slopes / graph.degrees, 0, atol=0.02)


def test_propensity_of_a_regular_graph() -> None:
    """A circle with chords: p = 4 / 16 for every pair, theta = sqrt(-log(1 - p))."""
    places = np.arange(17)
    edges = np.concatenate([np.column_stack((places, (places + step) % 17)) for step in (1, 3)])
    np.testing.assert_allclose(overlap_em.fit_propensity(Graph.from_edges(edges)), np.sqrt(-np.log(0.75)), rtol=1e-2)


def test_propensity_of_a_sparse_graph() -> None:
    """A long circle: an edge is one link there, and theta_u theta_v sums to the degree."""
    places = np.arange(101)
    theta = overlap_em.fit_propensity(Graph.from_edges(np.column_stack((places, (places + 1) % 101))))
    np.testing.assert_allclose(theta * (theta.sum() - theta), 2, rtol=1e-3)


def test_nodes_without_edges_have_no_propensity() -> None:
    graph = Graph.from_edges(np.array([(0, 1), (1, 2), (2, 0), (2, 3)]), n_nodes=6)
    theta = overlap_em.fit_propensity(graph)
    assert (theta[:4] > 0).all()
    assert not theta[4:].any()


# ---- steps


@kinds
def test_a_step(rng: np.random.Generator, weighted: bool, n_left: int | None) -> None:
    """Expected links of the E step, F that makes them, and a background that makes what is left."""
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    dense = rng.gamma(1.0, 0.4, (13, 3))
    before = Background(0.6, rng.uniform(0.2, 0.8, 13))
    found, background = overlap_em.sparse_em(graph, on_support(dense), before, sparsity=(0.0,))
    inside, plain = oracles.expected_links(adjacency, dense, before.scale, before.propensity)
    np.testing.assert_allclose(as_matrix(found, found.expected), inside, rtol=1e-6)
    price = sum(before.propensity[u] * before.propensity[v] for u, v in oracles.pairs(13, n_left))
    assert background.scale * price == pytest.approx(plain.sum() / 2)
    again = overlap_em.with_expected(graph, found, found.expected)
    np.testing.assert_array_equal(again.values, found.values)
    if n_left is None:  # in small bipartite graphs the sides rarely have the same links
        np.testing.assert_allclose(oracles.inside_links(as_matrix(found)), inside, rtol=0.02, atol=0.02)


@kinds
def test_the_likelihood_does_not_fall(
    rng: np.random.Generator, start: NDArray[np.float32], weighted: bool, n_left: int | None
) -> None:
    """From the second step on: the first ones start from a background that is not of the memberships."""
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    theta = overlap_em.fit_propensity(graph)
    reached = []
    for n_iters in range(1, 16):
        found, background = overlap_em.dense_em(graph, start, theta, n_iters=n_iters, sparsity=0)
        reached.append(oracles.log_likelihood(adjacency, as_matrix(found), background.scale, theta, n_left))
    assert reached[-1] > reached[1] + 0.1
    assert np.diff(reached[1:]).min() > -1e-3 * abs(reached[-1])


@kinds
def test_it_ends_where_the_likelihood_is_stationary(
    rng: np.random.Generator, weighted: bool, n_left: int | None
) -> None:
    """By every F, of two blocks that overlap. Without a background: EM would make stars of what that leaves."""
    n_left = None if n_left is None else 14
    support = np.zeros((31, 2), bool)
    support[::2, 0], support[1::2, 1], support[10:18] = True, True, True
    together = support.astype(int) @ support.T
    upper = rng.random((31, 31)) < np.where(together > 0, 0.4, 0.0)
    graph, adjacency = linked(upper, weighted=weighted, n_left=n_left, rng=rng)
    first = overlap_em.with_expected(graph, on_support(support), np.ones(support.sum()))
    found, _ = overlap_em.sparse_em(graph, first, Background(0.0, np.ones(31)), sparsity=(0.0,) * 300)
    slopes = oracles.slopes(adjacency, as_matrix(found), 0.0, np.ones(31), n_left)
    np.testing.assert_allclose(slopes, 0, atol=0.15)
    np.testing.assert_allclose(
        oracles.inside_links(as_matrix(found), n_left), as_matrix(found, found.expected), atol=0.15
    )


@kinds
def test_sparse_em_on_all_memberships_is_dense_em(
    rng: np.random.Generator, start: NDArray[np.float32], weighted: bool, n_left: int | None
) -> None:
    graph, _ = thirteen(rng, weighted=weighted, n_left=n_left)
    theta = overlap_em.fit_propensity(graph)
    links = start * graph.degrees[:, None]
    first = overlap_em.with_expected(graph, on_support(links), links[links > 0])
    found, background = overlap_em.sparse_em(graph, first, Background(0.5, theta), sparsity=(0.0, 0.0, 0.5, 0.5, 0.5))
    other, reached = overlap_em.dense_em(graph, start, theta, n_iters=5, sparsity=0.5)
    np.testing.assert_array_equal(found.communities, other.communities)
    np.testing.assert_allclose(as_matrix(found), as_matrix(other), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.expected, other.expected, rtol=1e-3, atol=1e-4)
    assert background.scale == pytest.approx(reached.scale, rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_does_not_matter_when_the_rest_is_looked_at_one_by_one(
    rng: np.random.Generator, start: NDArray[np.float32], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=None)
    theta = overlap_em.fit_propensity(graph)
    usual, background = overlap_em.dense_em(graph, start, theta, n_iters=9)
    monkeypatch.setattr(overlap_em, "_SPARSE_SHARE", share)
    found, other = overlap_em.dense_em(graph, start, theta, n_iters=9)
    np.testing.assert_allclose(as_matrix(found), as_matrix(usual), rtol=1e-2, atol=1e-3)
    assert other.scale == pytest.approx(background.scale, rel=1e-3)


# ---- what fades


def test_what_is_not_sure_fades(rng: np.random.Generator, start: NDArray[np.float32]) -> None:
    """After a third of the iterations, by `sparsity` expected links in each; what comes to nothing is gone."""
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    theta = overlap_em.fit_propensity(graph)

    def links(n_iters: int, sparsity: float) -> Array:
        found, _ = overlap_em.dense_em(graph, start, theta, n_iters=n_iters, sparsity=sparsity)
        assert (found.expected > 0).all()
        return as_matrix(found, found.expected)

    np.testing.assert_array_equal(links(1, 0.5), links(1, 0))
    np.testing.assert_allclose(links(2, 0.5), np.maximum(links(2, 0) - 0.5, 0), atol=1e-5)
    assert (links(2, 0.5) == 0).sum() > (links(2, 0) == 0).sum()


def test_fading_on_supports(rng: np.random.Generator) -> None:
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    dense, background = rng.gamma(1.0, 0.4, (13, 3)), Background(0.5, np.ones(13))
    free, _ = overlap_em.sparse_em(graph, on_support(dense), background, sparsity=(0.0,))
    faded, _ = overlap_em.sparse_em(graph, on_support(dense), background, sparsity=(0.7,))
    expected = np.maximum(as_matrix(free, free.expected) - 0.7, 0)
    np.testing.assert_allclose(as_matrix(faded, faded.expected), expected, rtol=1e-12)
    assert len(faded.values) == np.count_nonzero(expected) < 39


def test_a_membership_that_was_not_given_does_not_come_up(rng: np.random.Generator, start: NDArray[Any]) -> None:
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    start[:, 1] = np.where(np.arange(13) < 4, start[:, 1], 0)
    found, _ = overlap_em.dense_em(graph, start, overlap_em.fit_propensity(graph), n_iters=4)
    assert not as_matrix(found)[start == 0].any()


def test_no_iterations_leave_the_memberships(rng: np.random.Generator, start: NDArray[np.float32]) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=None)
    found, background = overlap_em.dense_em(graph, start, np.ones(13), n_iters=0)
    np.testing.assert_allclose(as_matrix(found, found.expected), start * graph.degrees[:, None], rtol=1e-6)
    same = overlap_em.graded(graph, found, background, sparsity=())
    np.testing.assert_array_equal(same.values, found.values)


def test_graded_memberships_tell_a_bridge_from_the_others(rng: np.random.Generator) -> None:
    """Two blocks are found, and the node with half of its links in either is in both by halves."""
    planted = planted_disjoint([20, 24], mean_degree=12, mixing=0.0, rng=rng)
    bridge = np.array([(44, node) for node in (*range(8), *range(20, 28))])
    graph = Graph.from_edges(np.concatenate([planted.edges, bridge]), n_nodes=46)
    start = np.full((46, 2), 0.1, np.float32)
    start[:20, 0], start[20:44, 1], start[44] = 0.9, 0.9, 0.5
    found, background = overlap_em.dense_em(graph, start, overlap_em.fit_propensity(graph), n_iters=12)
    strengths = as_matrix(overlap_em.graded(graph, found, background))
    assert not strengths[45].any()
    shares = strengths[:45] / strengths[:45].sum(axis=1, keepdims=True)
    assert shares[:20, 0].min() > 0.99
    assert shares[20:44, 1].min() > 0.99
    np.testing.assert_allclose(shares[44], [0.5, 0.5], atol=0.1)


def test_weights_of_1_are_no_weights(rng: np.random.Generator, start: NDArray[np.float32]) -> None:
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    weighted = dataclasses.replace(graph, weights=np.ones(len(graph.neighbours), np.float32))
    theta = overlap_em.fit_propensity(graph)
    np.testing.assert_array_equal(overlap_em.fit_propensity(weighted), theta)
    one, two = (overlap_em.dense_em(each, start, theta, n_iters=5) for each in (graph, weighted))
    np.testing.assert_array_equal(one[0].values, two[0].values)
    assert one[1].scale == two[1].scale
