"""3-stars between four parts of the nodes, against their tensor, and on graphs whose blocks are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.moments.split_star import SplitStar
from tests import oracles_communities as oracles

Array = NDArray[np.float64]
TAU, SEED, N_COMMUNITIES = 0.05, 3, 3


@pytest.fixture
def graph(rng: np.random.Generator) -> Graph:
    """Weighted, 90 nodes in blocks of 20, 30 and 40, 16 links each."""
    planted = planted_disjoint([20, 30, 40], mean_degree=16, mixing=0.1, rng=rng)
    return Graph.from_edges(planted.edges, weights=rng.integers(1, 4, len(planted.edges)), n_nodes=90)


@pytest.fixture
def moment(graph: Graph) -> SplitStar:
    return SplitStar.of(graph, N_COMMUNITIES, tau=TAU, seed=SEED)


def parts(n_nodes: int) -> list[NDArray[np.int64]]:
    part = np.random.default_rng(SEED).permutation(n_nodes) % 4
    return [np.flatnonzero(part == number) for number in range(4)]


def test_each_leaf_is_what_centres_see_of_one_part(graph: Graph, moment: SplitStar) -> None:
    """The leading left singular space of the links to it, scaled by degrees: no other part has a say."""
    centres, *others = parts(90)
    np.testing.assert_array_equal(moment.centres, centres)
    adjacency = graph.adjacency().toarray()
    raised = adjacency.sum(axis=1) + TAU * adjacency.sum() / 90
    np.testing.assert_allclose(moment.weights, raised[centres] / raised[centres].sum(), rtol=1e-12)
    for leaf, nodes in zip(moment.leaves, others, strict=True):
        block = adjacency[np.ix_(centres, nodes)] / np.sqrt(np.outer(raised[centres], raised[nodes]))
        left = np.linalg.svd(block)[0][:, :N_COMMUNITIES]
        vectors = leaf * np.sqrt(moment.weights)[:, None]
        np.testing.assert_allclose(vectors @ vectors.T, left @ left.T, atol=1e-9)


def test_leaves_are_white_and_turned_to_agree(moment: SplitStar) -> None:
    """sum w a a' = I; of all turns of b the one nearest to a makes sum w b a' symmetric without negative values."""
    weights = moment.weights[:, None]
    for leaf in moment.leaves:
        np.testing.assert_allclose(leaf.T @ (weights * leaf), np.eye(N_COMMUNITIES), atol=1e-9)
        across = leaf.T @ (weights * moment.leaves[0])
        np.testing.assert_allclose(across, across.T, atol=1e-9)
        assert np.linalg.eigvalsh(across).min() > 0
    np.testing.assert_allclose(moment.points, np.mean(moment.leaves, axis=0), rtol=1e-12)


def test_apply_is_the_contraction_of_the_symmetrised_tensor(moment: SplitStar, rng: np.random.Generator) -> None:
    """sum_x w_x a (x) b (x) c, the mean over all orders of the three leaves."""
    tensor = oracles.symmetrised(oracles.star_moments(moment.leaves, moment.weights)[2])
    directions = rng.standard_normal((N_COMMUNITIES, N_COMMUNITIES))
    np.testing.assert_allclose(moment.apply(directions), oracles.along(tensor, directions), rtol=1e-10, atol=1e-10)


def test_centres_of_one_block_see_the_same(rng: np.random.Generator) -> None:
    """Nodes come block by block: their points lie around three places that are far apart."""
    planted = planted_disjoint([40, 60, 80], mean_degree=30, mixing=0.05, rng=rng)
    moment = SplitStar.of(Graph.from_edges(planted.edges, n_nodes=180), N_COMMUNITIES, tau=TAU, seed=SEED)
    block = np.repeat([0, 1, 2], [40, 60, 80])[moment.centres]
    means = np.array([moment.points[block == number].mean(axis=0) for number in range(3)])
    nearest = np.argmin(np.linalg.norm(moment.points[:, None] - means, axis=2), axis=1)
    np.testing.assert_array_equal(nearest, block)


def test_a_seed_deals_the_nodes(graph: Graph, moment: SplitStar) -> None:
    again = SplitStar.of(graph, N_COMMUNITIES, tau=TAU, seed=SEED)
    np.testing.assert_array_equal(again.points, moment.points)
    other = SplitStar.of(graph, N_COMMUNITIES, tau=TAU, seed=SEED + 1)
    assert set(other.centres) != set(moment.centres)


def test_parts_are_of_one_size(moment: SplitStar) -> None:
    """However few nodes: so that it is known beforehand how many communities they can tell apart."""
    assert [len(part) for part in parts(90)] == [23, 23, 22, 22]
    assert len(moment.centres) == 23


def test_too_many_for_the_parts(graph: Graph) -> None:
    SplitStar.of(graph, 21, tau=TAU, seed=SEED)
    with pytest.raises(ValueError, match="22 communities from four parts of about 22 nodes"):
        SplitStar.of(graph, 22, tau=TAU, seed=SEED)


def test_parts_without_links() -> None:
    """All links of a star are those of one node, which is in one part only."""
    star = Graph.from_edges(np.array([(0, leaf) for leaf in range(1, 40)]))
    with pytest.raises(ValueError, match="hardly linked"):
        SplitStar.of(star, 2, tau=TAU, seed=SEED)


def test_the_same_bits_where_lanczos_exhausts_its_start() -> None:
    """A path in four parts falls into short pieces: new vectors are drawn there, and must not come from the system."""
    places = np.arange(120)
    graph = Graph.from_edges(np.column_stack((places, places + 1)))
    first, second = (SplitStar.of(graph, 9, tau=0.01, seed=3) for _ in range(2))
    for one, other in zip(first.leaves, second.leaves, strict=True):
        np.testing.assert_array_equal(one, other)
