"""Scores without a truth: against their definitions, against networkx, and what must hold for any graph."""

from __future__ import annotations

import gzip
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.data.graph import Graph
from tdtool.models.cover import Cover
from tdtool.models.graph_scores import (
    MOST_LINKED,
    bridges,
    conductance,
    coverage,
    graph_scores,
    internal_density,
    link_probability,
    overlapping_modularity,
)
from tests import oracles_graph_scores as oracles

SIDES = pytest.mark.parametrize("n_left", [None, 7])


def sample(seed: int, n_left: int | None, *, n_nodes: int = 17, n_communities: int = 5) -> tuple[Graph, Cover]:
    """A weighted graph and an overlapping cover; some nodes are in no community, community 3 has no members."""
    rng = np.random.default_rng(seed)
    pairs = [(u, v) for u in range(n_nodes) for v in range(u) if oracles.crossing(u, v, n_left)]
    edges = np.array(pairs)[rng.random(len(pairs)) < 0.35]
    shares = rng.random((n_nodes, n_communities)) * (rng.random((n_nodes, n_communities)) < 0.4)
    shares[:, 3] = 0
    graph = Graph.from_edges(edges, weights=rng.integers(1, 9, len(edges)) / 8, n_nodes=n_nodes, n_left=n_left)
    return graph, Cover.from_dense(shares)


def to_networkx(graph: Graph) -> nx.Graph:
    return nx.from_scipy_sparse_array(graph.adjacency())


@SIDES
@pytest.mark.parametrize("seed", range(3))
def test_definitions(seed: int, n_left: int | None) -> None:
    graph, cover = sample(seed, n_left)
    adjacency, shares = graph.adjacency().toarray(), cover.to_csr().toarray()
    sets = [set(members.tolist()) for members in cover.sets()]
    scores = graph_scores(graph, cover)
    assert scores.modularity == pytest.approx(oracles.modularity(adjacency, shares, n_left), rel=1e-12)
    np.testing.assert_allclose(scores.conductance, [oracles.conductance(adjacency, s) for s in sets], rtol=1e-12)
    np.testing.assert_allclose(scores.density, [oracles.density(adjacency, s, n_left) for s in sets], rtol=1e-12)
    expected = oracles.coverage(adjacency, shares)
    assert (scores.covered_nodes, scores.covered_edges) == pytest.approx(expected, rel=1e-12)
    found = link_probability(graph, cover)
    np.testing.assert_allclose(found, oracles.link_probability(adjacency, shares, n_left), rtol=1e-12)
    np.testing.assert_array_equal(link_probability(graph, cover, [4, 1]), found[np.ix_([4, 1], [4, 1])])


def test_one_score_at_a_time() -> None:
    graph, cover = sample(5, None)
    scores = graph_scores(graph, cover)
    assert overlapping_modularity(graph, cover) == scores.modularity
    assert coverage(graph, cover) == (scores.covered_nodes, scores.covered_edges)
    np.testing.assert_array_equal(conductance(graph, cover), scores.conductance)
    np.testing.assert_array_equal(internal_density(graph, cover), scores.density)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25)
def test_hard_covers_score_as_networkx_says(seed: int, n_labels: int) -> None:
    graph, _ = sample(seed, None)
    cover = Cover.from_labels(np.random.default_rng(seed).integers(0, n_labels, graph.n_nodes))
    peer = to_networkx(graph)
    sets = [set(members.tolist()) for members in cover.sets()]
    assert overlapping_modularity(graph, cover) == pytest.approx(nx.community.modularity(peer, sets), abs=1e-12)
    volumes = [(nx.volume(peer, members), nx.volume(peer, set(peer) - members)) for members in sets]
    found = conductance(graph, cover)
    for members, value, pair in zip(sets, found, volumes, strict=True):
        expected = nx.conductance(peer, members, weight="weight") if min(pair) > 0 else 0.0
        assert value == pytest.approx(expected, abs=1e-12)
    unweighted = Graph.from_edges(np.array(peer.edges()), n_nodes=graph.n_nodes)
    for members, value in zip(sets, internal_density(unweighted, cover), strict=True):
        assert value == pytest.approx(nx.density(peer.subgraph(members)) if len(members) > 1 else 0.0, rel=1e-12)


def test_karate_club_is_scored_as_published() -> None:
    """The split that the club took has modularity 0.3582 where edges count once (Newman 2006, PNAS 103)."""
    club = nx.karate_club_graph()
    graph = Graph.from_edges(np.array(club.edges()))
    labels = np.array([club.nodes[node]["club"] == "Officer" for node in club], int)
    assert overlapping_modularity(graph, Cover.from_labels(labels)) == pytest.approx(0.3582, abs=5e-5)


def test_equal_shares_are_the_extended_modularity_of_shen() -> None:
    """Two triangles that share node 2: EQ by hand, with O_2 = 2, d_2 = 4, m = 6."""
    graph = Graph.from_edges(np.array([[0, 1], [1, 2], [2, 0], [2, 3], [3, 4], [4, 2]]))
    cover = Cover.from_sets([[0, 1, 2], [2, 3, 4]], 5)
    assert overlapping_modularity(graph, cover) == pytest.approx(2 * (2 / 6 - (6 / 12) ** 2), rel=1e-14)
    np.testing.assert_allclose(conductance(graph, cover), [2 / 4, 2 / 4])
    assert coverage(graph, cover) == (1.0, 1.0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 7]))
@settings(max_examples=15)
def test_names_of_nodes_and_communities_do_not_matter(seed: int, n_left: int | None) -> None:
    graph, cover = sample(seed, n_left)
    rng = np.random.default_rng(seed)
    parts = [np.arange(graph.n_nodes)] if n_left is None else [np.arange(n_left), np.arange(n_left, graph.n_nodes)]
    order, columns = np.concatenate([rng.permutation(part) for part in parts]), rng.permutation(cover.n_communities)
    adjacency = graph.adjacency().tocoo()
    place = np.argsort(order)
    upper = adjacency.row < adjacency.col
    edges = np.stack([place[adjacency.row], place[adjacency.col]], axis=1)[upper]
    other = Graph.from_edges(edges, weights=adjacency.data[upper], n_nodes=graph.n_nodes, n_left=n_left)
    relabelled = Cover.from_dense(cover.to_csr().toarray()[order][:, columns])
    first, second = graph_scores(graph, cover), graph_scores(other, relabelled)
    assert second.modularity == pytest.approx(first.modularity, abs=1e-13)
    np.testing.assert_allclose(second.conductance, first.conductance[columns], atol=1e-13)
    np.testing.assert_allclose(second.density, first.density[columns], atol=1e-13)


@SIDES
def test_planted_probabilities_are_found(n_left: int | None) -> None:
    """Edges drawn with P[z, w] mixed by memberships that are mostly of one community."""
    rng = np.random.default_rng(3)
    n_nodes, planted = 600, np.array([[0.5, 0.1], [0.1, 0.3]])
    shares = np.eye(2)[rng.integers(0, 2, n_nodes)]
    likely = shares @ planted @ shares.T
    pairs = np.argwhere(np.triu(rng.random((n_nodes, n_nodes)) < likely, 1))
    n_left = None if n_left is None else 250
    if n_left is not None:
        pairs = pairs[(pairs[:, 0] < n_left) & (pairs[:, 1] >= n_left)]
    graph = Graph.from_edges(pairs, n_nodes=n_nodes, n_left=n_left)
    np.testing.assert_allclose(link_probability(graph, Cover.from_dense(shares)), planted, atol=0.01)


def test_what_has_no_edges_or_no_members_is_zero() -> None:
    graph = Graph.from_edges(np.zeros((0, 2), int), n_nodes=3)
    cover = Cover.from_sets([[0, 1], [2], []], 3)
    scores = graph_scores(graph, cover)
    assert (scores.modularity, scores.covered_nodes, scores.covered_edges) == (0.0, 1.0, 0.0)
    assert scores.conductance.tolist() == scores.density.tolist() == [0.0, 0.0, 0.0]
    assert not link_probability(graph, cover).any()
    nothing = graph_scores(Graph.from_edges(np.zeros((0, 2), int), n_nodes=0), Cover.from_sets([], 0))
    assert (nothing.covered_nodes, nothing.modularity, nothing.density.size) == (0.0, 0.0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_what_no_edge_leaves_has_no_conductance(seed: int) -> None:
    """Sums of weights in two orders differ by rounding, which must not become a ratio. Nodes 37 on: a graph apart."""
    rng = np.random.default_rng(seed)
    edges = np.argwhere(np.triu(rng.random((60, 60)) < 0.3, 1))
    edges = edges[(edges[:, 0] < 37) == (edges[:, 1] < 37)]
    graph = Graph.from_edges(edges, weights=np.exp(rng.normal(0, 12, len(edges))), n_nodes=61)
    cover = Cover.from_sets([range(60), range(61), range(37), range(37, 60)], 61)
    assert conductance(graph, cover).tolist() == [0.0, 0.0, 0.0, 0.0]


def test_bridges_by_entropy_and_degree() -> None:
    shares = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.75, 0, 0.25], [0, 0, 0], [0.2, 0.2, 0.6]])
    cover = Cover.from_dense(shares)
    found = bridges(cover, [1.0, 50.0, 2.0, 9.0, 0.5])
    assert found.nodes.tolist() == [2, 0, 4]
    np.testing.assert_allclose(found.entropy, [oracles.entropy(shares[node]) for node in (2, 0, 4)])
    np.testing.assert_allclose(found.score, found.entropy * [2.0, 1.0, 0.5])
    assert bridges(cover, most=2).nodes.tolist() == [4, 0]
    tied = bridges(Cover.from_sets([range(6), range(6)], 6))
    assert tied.nodes.tolist() == list(range(6))
    assert not bridges(Cover.from_labels([0, 1, -1])).nodes.size


def test_what_cannot_be_scored() -> None:
    graph, cover = sample(0, None)
    with pytest.raises(ValueError, match="the cover is of 3 nodes, the graph has 17"):
        graph_scores(graph, Cover.from_labels([0, 0, 1]))
    with pytest.raises(ValueError, match="5 degrees for 17 nodes"):
        bridges(cover, np.ones(5))
    with pytest.raises(ValueError, match="communities 0 to 4"):
        link_probability(graph, cover, [1, 5])
    with pytest.raises(ValueError, match="twice"):
        link_probability(graph, cover, [2, 0, 2])
    many = Cover.from_labels(np.full(17, MOST_LINKED))
    with pytest.raises(ValueError, match="2001 communities are too many"):
        link_probability(graph, many)
    assert link_probability(graph, many, [MOST_LINKED]).shape == (1, 1)


@pytest.mark.shared_data
def test_circles_of_friends_have_the_conductance_that_networkx_finds(shared_data: Path) -> None:
    folder = shared_data / "graphs" / "fb_348"
    edges = np.loadtxt(folder / "edges.txt.gz", np.int64)
    with gzip.open(folder / "communities.txt.gz", "rt") as lines:
        circles = [{int(node) for node in line.split()} for line in lines]
    graph, peer = Graph.from_edges(edges), nx.Graph(edges.tolist())
    found = conductance(graph, Cover.from_sets(circles, graph.n_nodes))
    linked = [
        (value, circle) for value, circle in zip(found, circles, strict=True) if nx.volume(peer, circle & set(peer))
    ]
    assert len(linked) > 5
    for value, circle in linked:
        assert value == pytest.approx(nx.conductance(peer, circle & set(peer)), rel=1e-12)
