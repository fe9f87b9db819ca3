"""Memberships that pay for their description stay, and every node's strongest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.models import community_pruning
from tdtool.models.community_pruning import pruned
from tdtool.models.overlap_em import dense_em, fit_propensity, with_expected
from tdtool.models.overlap_model import Background, Strengths
from tests import oracles_communities as oracles
from tests.small_graphs import as_matrix, on_support, thirteen

Array = NDArray[Any]
SIZES = (20, 30, 40)
BLOCKS = np.repeat(np.eye(3), SIZES, axis=0)


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Three blocks of 14 links a node, a tenth of them to other blocks; node 0 is as much in the second."""
    planted = planted_disjoint(SIZES, mean_degree=14, mixing=0.1, rng=rng)
    bridge = np.array([(0, node) for node in range(22, 36)])
    return Graph.from_edges(np.concatenate([planted.edges, bridge]), n_nodes=90)


def started(graph: Graph, shares: Array) -> tuple[Strengths, Background]:
    """Strengths of these memberships, and a background that makes a tenth of the links."""
    links = shares * graph.degrees[:, None]
    found = with_expected(graph, on_support(links), links[links > 0])
    return found, Background(0.0, fit_propensity(graph)).making(0.1 * graph.n_edges, None)


def memberships(found: Strengths) -> Array:
    return as_matrix(found, np.ones(len(found.values)))


def test_what_pays_stays_and_what_does_not_goes(graph: Graph) -> None:
    """Node 0 has two communities; others, given to the nodes with the fewest links there, go."""
    adjacency, shares = graph.adjacency().toarray(), BLOCKS.copy()
    shares[0] = [0.5, 0.5, 0]
    shares[adjacency[:20, 20:50].sum(axis=1).argmin()] = [0.6, 0.4, 0]
    shares[20 + adjacency[20:50, 50:].sum(axis=1).argmin()] = [0, 0.7, 0.3]
    assert (shares > 0).sum() == 93
    found, background = pruned(graph, *started(graph, shares), n_steps=3)
    expected = BLOCKS.copy()
    expected[0, 1] = 1
    np.testing.assert_array_equal(memberships(found), expected)
    assert background.scale > 0
    assert as_matrix(found, found.expected)[0, :2].min() > 5


@pytest.mark.parametrize("weighted", [False, True])
def test_the_rule(rng: np.random.Generator, weighted: bool) -> None:
    """Gain, by the likelihood of all pairs, against 1.25 (log2(sum kappa / kappa_z) + log2(d + 1) / 2), twice."""
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=None)
    links = rng.uniform(1, 4, (13, 3)) * (rng.random((13, 3)) < 0.7)
    links[0] = [5.0, 1.0, 0.9]  # a fifth of the strongest and one link: a candidate; less is none
    strengths, background = with_expected(graph, on_support(links), links[links > 0]), Background(0.3, np.ones(13))
    found, _ = pruned(graph, strengths, background, n_steps=0)
    current = links.copy()
    current[(current < 0.2 * current.max(axis=1, keepdims=True)) | (current < 1)] = 0
    values = as_matrix(with_expected(graph, on_support(current), current[current > 0]))
    for _ in range(2):
        values = values * (current > 0)
        used, worth = current.sum(axis=0) + 1, np.zeros((13, 3), bool)
        for u, z in np.argwhere(current):
            gain = oracles.membership_gain(adjacency, values, 0.3, np.ones(13), u, z)
            cost = np.log2(used.sum() / used[z]) + np.log2(adjacency[u].sum() + 1) / 2
            worth[u, z] = gain >= 1.25 * cost or current[u, z] == current[u].max()
        current[~worth] = 0
    np.testing.assert_array_equal(memberships(found), current > 0)
    assert 13 <= (current > 0).sum() < (links > 0).sum() - 3


def test_candidates(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything pays, what has a fifth of the node's strongest and one link stays, and every strongest."""
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    links = rng.uniform(2, 5, (13, 3))
    links[0], links[1], links[2], links[3] = [6.0, 1.3, 1.1], [3.0, 1.1, 0.9], [0.4, 0.0, 0.3], [1.5, 0.31, 1.01]
    start = with_expected(graph, on_support(links), links[links > 0])
    monkeypatch.setattr(community_pruning, "membership_costs", lambda graph, found: np.full(len(found.values), -np.inf))
    found, _ = pruned(graph, start, Background(0.3, np.ones(13)), n_steps=0)
    assert memberships(found)[:4].tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]]
    assert memberships(found)[4:].all()


def test_every_node_keeps_its_strongest(graph: Graph) -> None:
    """Even of a random graph, where no membership pays."""
    rng = np.random.default_rng(3)
    noise = Graph.from_edges(np.argwhere(np.triu(rng.random((60, 60)) < 0.1, 1)), n_nodes=60)
    shares = rng.dirichlet([1.0] * 3, 60)
    found, _ = pruned(noise, *started(noise, shares), n_steps=0)
    linked = noise.degrees > 0
    assert (np.diff(found.indptr)[linked] >= 1).all()
    strongest = shares.argmax(axis=1)
    assert memberships(found)[np.arange(60), strongest][linked].all()


def test_without_overlap_the_strongest_alone(graph: Graph) -> None:
    shares = BLOCKS.copy()
    shares[0], shares[25] = [0.5, 0.5, 0], [0, 0.7, 0.3]
    found, _ = pruned(graph, *started(graph, shares), n_steps=3, overlap=False)
    assert np.diff(found.indptr).tolist() == [1] * 90
    np.testing.assert_array_equal(memberships(found)[1:], BLOCKS[1:])


def test_of_equally_strong_ones_the_first() -> None:
    """A node between two triangles, with one link to each."""
    edges = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (6, 0), (6, 3)]
    graph = Graph.from_edges(np.array(edges))
    links = np.zeros((7, 2))
    links[:3, 0], links[3:6, 1], links[6] = 2.0, 2.0, 1.0
    start = with_expected(graph, on_support(links), links[links > 0])
    found, _ = pruned(graph, start, Background(0.1, np.ones(7)), n_steps=0, overlap=False)
    assert found.communities.tolist() == [0, 0, 0, 1, 1, 1, 0]


def test_pruning_what_em_has_found(graph: Graph) -> None:
    """From memberships that are half right, EM and pruning go to the blocks."""
    start = (0.5 * BLOCKS + np.full((90, 3), 0.5 / 3)).astype(np.float32)
    found, background = dense_em(graph, start, fit_propensity(graph), n_iters=12)
    left, _ = pruned(graph, found, background, n_steps=3)
    assert (memberships(left)[1:] == BLOCKS[1:]).all(axis=1).mean() > 0.97
    assert memberships(left)[0].tolist() == [1, 1, 0]
