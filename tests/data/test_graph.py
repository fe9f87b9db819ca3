"""Graphs made in memory."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from tdtool.data.graph import Graph
from tdtool.errors import InputError
from tests.data.graph_reading import check, weights_of
from tests.oracles_graph import matrix_of, merged_edges

EDGES = np.array([[0, 1], [2, 1], [1, 2], [3, 3], [2, 0], [2, 0], [5, 3]])


def test_from_edges() -> None:
    graph = Graph.from_edges(EDGES, n_nodes=7)
    check(graph)
    assert (graph.n_nodes, graph.n_edges, graph.weights) == (7, 4, None)
    assert graph.n_neighbours.tolist() == [2, 2, 2, 1, 0, 1, 0]
    assert graph.degrees.tolist() == [2.0, 2.0, 2.0, 1.0, 0.0, 1.0, 0.0]
    assert graph.mean_degree == pytest.approx(8 / 7, rel=1e-15)
    assert graph.names() == ["0", "1", "2", "3", "4", "5", "6"]
    assert weights_of(graph) == {("0", "1"): 1, ("0", "2"): 1, ("1", "2"): 1, ("3", "5"): 1}
    counted = {"loops left out": 1, "duplicate edges merged": 1, "edges given in both directions": 1}
    assert graph.ledger.counters == counted
    assert graph.ledger.rows_used == 7
    assert Graph.from_edges(EDGES).n_nodes == 6


def test_weights_of_repeated_edges_add_up() -> None:
    weights = np.array([0.5, 3.0, 4.0, 9.0, 0.0, 2.5, 7.0])
    graph = Graph.from_edges(EDGES, weights=weights)
    check(graph)
    assert weights_of(graph) == {("0", "1"): 0.5, ("0", "2"): 2.5, ("1", "2"): 7.0, ("3", "5"): 7.0}
    assert graph.degrees.tolist() == [3.0, 7.5, 9.5, 7.0, 0.0, 7.0]
    assert graph.ledger.skips["weight 0"].count == 1
    assert Graph.from_edges(EDGES, weights=np.ones(7)).weights is not None
    assert Graph.from_edges(EDGES[:2], weights=np.ones(2)).weights is None


def test_degrees_are_summed_in_double_precision() -> None:
    graph = Graph.from_edges(np.array([[0, 1], [0, 2], [0, 3]]), weights=np.array([1, 2.0**24, 1]))
    assert graph.degrees.tolist() == [2.0**24 + 2, 1, 2.0**24, 1]


def test_many_weights_of_zero_are_all_counted() -> None:
    edges = np.column_stack([np.arange(9), np.arange(1, 10)])
    ledger = Graph.from_edges(edges, weights=np.r_[np.zeros(8), 1.0]).ledger
    assert (ledger.rows_in, ledger.rows_used, ledger.rows_skipped) == (9, 1, 8)


def test_against_dictionaries(rng: np.random.Generator) -> None:
    for n_nodes in (2, 3, 5, 11):
        edges = rng.integers(0, n_nodes, (40, 2))
        weights = rng.integers(0, 9, 40) / 8
        merged, _ = merged_edges(map(tuple, edges.tolist()), weights.tolist())
        graph = Graph.from_edges(edges, weights=weights, n_nodes=n_nodes)
        np.testing.assert_array_equal(graph.adjacency().toarray(), matrix_of(merged, range(n_nodes)))
        assert graph.degrees == pytest.approx(graph.adjacency().sum(axis=0), rel=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_from_adjacency(sparse: bool) -> None:
    matrix = np.array([[5.0, 2, 0, 0], [2, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])
    given = sp.csr_array(matrix) if sparse else matrix
    graph = Graph.from_adjacency(given, ["a", "b", "c", "d"])
    check(graph)
    assert weights_of(graph) == {("a", "b"): 2.0, ("b", "c"): 0.5}
    assert graph.name(3) == "d"
    np.testing.assert_array_equal(Graph.from_adjacency(graph.adjacency()).indptr, graph.indptr)
    asymmetric = Graph.from_adjacency(np.array([[0, 1, 4], [0, 0, 0], [1, 0, 0]]))
    assert weights_of(asymmetric) == {("0", "1"): 1.0, ("0", "2"): 5.0}
    assert weights_of(Graph.from_adjacency(matrix > 0)) == {("0", "1"): 1.0, ("1", "2"): 1.0}


def test_bipartite() -> None:
    graph = Graph.from_edges(np.array([[0, 2], [3, 1]]), n_left=2, ids=["a", "b", "a", "c"])
    check(graph)
    assert graph.n_left == 2
    with pytest.raises(InputError, match="two nodes of the same kind"):
        Graph.from_edges(np.array([[0, 2], [3, 2]]), n_left=2)


def test_no_edges() -> None:
    graph = Graph.from_edges(np.zeros((0, 2)), n_nodes=3)
    check(graph)
    assert graph.degrees.tolist() == [0, 0, 0]
    assert Graph.from_edges(np.zeros((0, 2)), weights=np.zeros(0), n_nodes=3).degrees.tolist() == [0, 0, 0]
    assert Graph.from_edges(np.zeros((0, 2))).mean_degree == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"edges": np.array([0, 1, 2])}, r"array \(m, 2\) of whole numbers"),
        ({"edges": np.array([[0.5, 1.0]])}, r"array \(m, 2\) of whole numbers"),
        ({"edges": EDGES, "n_nodes": 5}, "not among 0 ... 4"),
        ({"edges": -EDGES}, "not among"),
        ({"edges": EDGES, "weights": np.ones(6)}, "6 weights for 7 edges"),
        ({"edges": EDGES, "weights": np.r_[np.ones(6), -1]}, "the edge between 5 and 3 has the weight -1"),
        ({"edges": EDGES, "weights": np.r_[np.ones(6), np.nan]}, "the edge between 5 and 3 has the weight nan"),
        ({"edges": EDGES, "weights": np.r_[np.ones(6), np.inf]}, "the edge between 5 and 3 has the weight inf"),
        ({"edges": EDGES, "weights": np.full(7, 2e38)}, "add up to more than 3.4e38"),
        ({"edges": EDGES, "ids": ["a", "b"]}, "2 names for 6 nodes"),
        ({"edges": np.array([[0, 2**31]])}, "2,147,483,649 nodes; a graph may have 2,147,483,647"),
    ],
)
def test_refused(arguments: dict, what: str) -> None:
    with pytest.raises(InputError, match=what):
        Graph.from_edges(**arguments)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(InputError, match="this one is 2 x 3"):
        Graph.from_adjacency(np.ones((2, 3)))


def test_tiny_weights_stay_positive() -> None:
    graph = Graph.from_edges(EDGES[:2], weights=np.array([1e-300, 1.0]))
    assert graph.weights is not None
    assert graph.weights.min() > 0
