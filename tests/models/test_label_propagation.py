"""The price that labels pay: chosen where planted communities come back, whatever their number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tdtool.data.graph import Graph
from tdtool.models.label_propagation import Adjacency, choose_labels, held_out_bits, propagate


def cliques(count: int, size: int) -> Graph:
    """A ring of `count` cliques, neighbours joined by one edge."""
    inside = np.array([(i, j) for i in range(size) for j in range(i)])
    edges = np.concatenate([inside + size * clique for clique in range(count)])
    firsts = size * np.arange(count)
    bridges = np.column_stack((firsts, np.roll(firsts, 1) + 1))
    return Graph.from_edges(np.concatenate((edges, bridges)))


@pytest.mark.parametrize(("count", "size"), [(7, 5), (50, 6), (300, 11)])
def test_cliques_are_found_far_below_the_resolution_limit(count: int, size: int) -> None:
    choice = choose_labels(cliques(count, size))
    assert choice is not None
    assert choice.n_labels == count
    assert (choice.labels.reshape(count, size) == choice.labels[::size, None]).all()
    assert choice.chosen in choice.rungs
    assert choice.chosen.bits == max(rung.bits for rung in choice.rungs)
    assert choice.chosen.bits > 0.4 * np.log2(count)


def test_order_has_the_nodes_of_one_label_together() -> None:
    choice = choose_labels(cliques(50, 6))
    assert choice is not None
    assert sorted(choice.order.tolist()) == list(range(300))
    assert np.count_nonzero(np.diff(choice.labels[choice.order])) == choice.n_labels - 1


def test_large_loose_communities_are_not_cut_in_pieces(rng: np.random.Generator) -> None:
    """12 blocks of 150 with 12 links a node: the dearest price makes ten times as many labels."""
    block = np.repeat(np.arange(12), 900)
    inside = block[:, None] * 150 + rng.integers(0, 150, (block.size, 2))
    edges = np.concatenate((inside, rng.integers(0, 1800, (2000, 2))))
    choice = choose_labels(Graph.from_edges(edges))
    assert choice is not None
    assert choice.rungs[0].n_labels > 100
    assert choice.n_labels == 12
    assert (choice.labels.reshape(12, 150) == choice.labels[::150, None]).mean() > 0.98
    assert np.count_nonzero(np.diff(choice.labels[choice.order])) < 400


def test_a_random_graph_predicts_nothing(rng: np.random.Generator) -> None:
    choice = choose_labels(Graph.from_edges(rng.integers(0, 3000, (15_000, 2))))
    assert choice is not None
    assert choice.chosen.bits < 0.05


def test_no_edges_to_hold_out() -> None:
    assert choose_labels(Graph.from_edges(np.zeros((0, 2), np.int64), n_nodes=5)) is None
    assert choose_labels(Graph.from_edges(np.array([[0, 1]]))) is None


def test_weights_count_and_their_unit_does_not() -> None:
    """A ring of triangles of heavy edges: with weights the triangles, without them other labels."""
    graph = cliques(40, 3)
    ends = np.repeat(np.arange(120), graph.n_neighbours)
    crossing = ends // 3 != graph.neighbours // 3
    weighted = dataclasses.replace(graph, weights=np.where(crossing, 40.0, 1.0).astype(np.float32))
    heavier = dataclasses.replace(graph, weights=np.where(crossing, 320.0, 8.0).astype(np.float32))
    labels = propagate(Adjacency.of(weighted), 10.0)
    np.testing.assert_array_equal(labels, propagate(Adjacency.of(heavier), 10.0))
    bridges = np.column_stack((3 * np.arange(40), (3 * np.arange(40) - 3) % 120 + 1))
    assert (labels[bridges[:, 0]] == labels[bridges[:, 1]]).all()
    plain = propagate(Adjacency.of(graph), 10.0)
    assert (plain[bridges[:, 0]] != plain[bridges[:, 1]]).any()


def test_held_out_bits_of_labels_that_say_nothing_and_of_those_that_say_all() -> None:
    training = Adjacency.of(cliques(30, 6))
    edges = np.array([[0, 1], [7, 9], [31, 33]])
    assert held_out_bits(training, np.zeros(180, np.int64), edges) == pytest.approx(0.0, abs=1e-9)
    # Within a clique the rate is 25 / 32 or so, by degrees alone 25 / 960: log2(30) bits.
    assert held_out_bits(training, np.arange(180) // 6, edges) == pytest.approx(np.log2(30), abs=0.6)
    assert held_out_bits(training, np.arange(180) // 6, edges[:, [0, 0]] + [[0, 40]]) < 0.01


def test_the_order_of_edges_does_not_matter_and_the_seed_may(rng: np.random.Generator) -> None:
    edges = rng.integers(0, 400, (2000, 2))
    shuffled = edges[rng.permutation(2000)][:, ::-1]
    first, second = (choose_labels(Graph.from_edges(pairs)) for pairs in (edges, shuffled))
    other = choose_labels(Graph.from_edges(edges), seed=1)
    assert first is not None
    assert second is not None
    assert other is not None
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.tolist() != other.labels.tolist()
