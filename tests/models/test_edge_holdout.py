"""Edges kept out: what is drawn, what is left, and how well they are predicted."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.models.cover import Cover
from tdtool.models.edge_holdout import auc, degree_auc, link_rates, non_edges, rank_auc, split_edges
from tests import oracles_graph_scores as oracles


class Model(NamedTuple):
    """A fit, made by hand."""

    cover: Cover
    strengths: NDArray[np.float64]
    background: float
    propensity: NDArray[np.float64]


def sample(seed: int, n_left: int | None = None, *, n_nodes: int = 23, share: float = 0.3) -> Graph:
    """A random weighted graph; node 5 has no edges."""
    rng = np.random.default_rng(seed)
    pairs = [(u, v) for u in range(n_nodes) for v in range(u) if oracles.crossing(u, v, n_left) and 5 not in (u, v)]
    edges = np.array(pairs)[rng.random(len(pairs)) < share]
    return Graph.from_edges(edges, weights=rng.integers(1, 99, len(edges)) / 8, n_nodes=n_nodes, n_left=n_left)


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 9]), st.floats(0, 0.9))
@settings(max_examples=40)
@example(0, None, 0.0)
@example(1, 9, 0.9)
def test_a_graph_is_cut_in_two(seed: int, n_left: int | None, share: float) -> None:
    graph = sample(seed, n_left)
    training, positives, negatives = split_edges(graph, share, seed=seed)
    whole, rest = graph.adjacency().toarray(), training.adjacency().toarray()
    for u, v in positives:
        assert u < v
        rest[u, v] += whole[u, v]
        rest[v, u] += whole[v, u]
    np.testing.assert_array_equal(rest, whole)
    assert len(positives) <= round(share * graph.n_edges)
    assert ((training.n_neighbours > 0) == (graph.n_neighbours > 0)).all()
    assert (training.n_left, training.n_nodes) == (n_left, 23)
    candidates = oracles.non_edges(whole, n_left)
    found = [tuple(pair) for pair in negatives.tolist()]
    assert found == sorted(set(found))
    assert set(found) <= set(candidates)
    assert len(found) == min(len(positives), len(candidates))


def test_as_many_are_taken_as_were_asked_where_nodes_have_edges_to_spare() -> None:
    graph = sample(2, share=0.8)
    training, positives, negatives = split_edges(graph, 0.25, seed=3)
    assert len(positives) == len(negatives) == round(0.25 * graph.n_edges)
    assert training.n_edges == graph.n_edges - len(positives)
    assert training.weights is not None
    assert not np.array_equal(positives, split_edges(graph, 0.25, seed=4).positives)


def test_order_and_direction_of_the_input_do_not_matter(rng: np.random.Generator) -> None:
    edges = np.argwhere(np.triu(rng.random((19, 19)) < 0.4, 1))
    other = edges[rng.permutation(len(edges)), ::-1]
    first = split_edges(Graph.from_edges(edges), 0.3, seed=1)
    second = split_edges(Graph.from_edges(other), 0.3, seed=1)
    np.testing.assert_array_equal(first.positives, second.positives)
    np.testing.assert_array_equal(first.negatives, second.negatives)
    np.testing.assert_array_equal(first.training.neighbours, second.training.neighbours)


def test_a_larger_share_takes_the_same_edges_and_more() -> None:
    graph = sample(7, share=0.9)
    few, more = (split_edges(graph, share, seed=0).positives.tolist() for share in (0.1, 0.3))
    assert len(few) < len(more)
    assert [edge for edge in few if edge not in more] == []


def test_one_more_edge_changes_little() -> None:
    """The key of an edge is its own: others come and go without a change."""
    edges = np.argwhere(np.triu(np.random.default_rng(0).random((40, 40)) < 0.6, 1))
    whole = Graph.from_edges(edges, n_nodes=40)
    first, second = split_edges(whole, 0.1, seed=5), split_edges(Graph.from_edges(edges[1:], n_nodes=40), 0.1, seed=5)
    changed = {tuple(edge) for edge in first.positives.tolist()} ^ {tuple(edge) for edge in second.positives.tolist()}
    assert len(changed) <= 2


def test_leaves_keep_their_only_edge() -> None:
    star = Graph.from_edges(np.array([[0, leaf] for leaf in range(1, 8)]))
    training, positives, negatives = split_edges(star, 0.5, seed=0)
    assert len(positives) == len(negatives) == 0
    assert training.n_edges == 7
    assert math.isnan(degree_auc(training, positives, negatives))


def test_complete_graph_has_no_pair_without_an_edge() -> None:
    graph = Graph.from_edges(np.argwhere(np.triu(np.ones((7, 7)), 1)))
    _, positives, negatives = split_edges(graph, 0.25, seed=0)
    assert (len(positives), len(negatives)) == (5, 0)


@pytest.mark.parametrize("n_nodes", [0, 3])
def test_no_edges_at_all(n_nodes: int) -> None:
    training, positives, negatives = split_edges(Graph.from_edges(np.zeros((0, 2), int), n_nodes=n_nodes), 0.5, seed=0)
    assert (training.n_nodes, positives.shape, negatives.shape) == (n_nodes, (0, 2), (0, 2))


@pytest.mark.parametrize("n_left", [None, 9])
@pytest.mark.parametrize("wanted", [1, 40, 10**6])
def test_pairs_without_an_edge_are_drawn_evenly(n_left: int | None, wanted: int) -> None:
    graph = sample(3, n_left, share=0.4)
    candidates = oracles.non_edges(graph.adjacency().toarray(), n_left)
    wanted = min(wanted, len(candidates))
    n_seeds = 400
    counts = dict.fromkeys(candidates, 0)
    for seed in range(n_seeds):
        drawn = non_edges(graph, wanted, seed=seed)
        assert len(drawn) == wanted
        for pair in drawn.tolist():
            counts[tuple(pair)] += 1
    likely = wanted / len(candidates)
    spread = math.sqrt(n_seeds * likely * (1 - likely))
    assert all(abs(count - n_seeds * likely) <= 5 * spread + 1e-9 for count in counts.values())


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_shares_that_cannot_be(share: float) -> None:
    with pytest.raises(ValueError, match="share of edges"):
        split_edges(sample(0), share, seed=0)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_every_pair_is_compared(positives: list[int], negatives: list[int]) -> None:
    left, right = np.array(positives, float), np.array(negatives, float)
    assert rank_auc(left, right) == pytest.approx(oracles.rank_auc(left, right), rel=1e-14)


def test_rates_and_their_auc(rng: np.random.Generator) -> None:
    dense = rng.random((23, 4)) * (rng.random((23, 4)) < 0.5)
    cover = Cover.from_dense(dense)
    rows = cover.entry_nodes()
    fit = Model(cover, dense[rows, cover.communities], 0.03, rng.random(23))
    graph = sample(4)
    training, positives, negatives = split_edges(graph, 0.3, seed=2)
    expected = [oracles.rates(pairs, dense, 0.03, fit.propensity) for pairs in (positives, negatives)]
    np.testing.assert_allclose(link_rates(fit, positives), expected[0], rtol=1e-13)
    assert auc(fit, positives, negatives) == pytest.approx(oracles.rank_auc(*expected), rel=1e-14)
    products = [np.array([training.degrees[u] * training.degrees[v] for u, v in p]) for p in (positives, negatives)]
    assert degree_auc(training, positives, negatives) == pytest.approx(oracles.rank_auc(*products), rel=1e-14)


def test_planted_communities_predict_what_degrees_cannot(rng: np.random.Generator) -> None:
    labels = np.arange(200) % 5
    likely = np.where(labels[:, None] == labels, 0.4, 0.02)
    graph = Graph.from_edges(np.argwhere(np.triu(rng.random((200, 200)) < likely, 1)), n_nodes=200)
    training, positives, negatives = split_edges(graph, 0.3, seed=0)
    fit = Model(Cover.from_labels(labels), np.full(200, math.sqrt(0.4)), 0.02, np.ones(200))
    inside, across = 0.4 / (0.4 + 0.02 * 4), 0.6 / (0.6 + 0.98 * 4)
    assert auc(fit, positives, negatives) == pytest.approx((1 + inside - across) / 2, abs=0.04)
    assert degree_auc(training, positives, negatives) < 0.6
