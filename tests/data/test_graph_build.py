"""What readers found to graphs: the forms that edge lists do not have."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.data.graph import Graph
from tdtool.data.graph_build import build_graph
from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_types import FoundGraph
from tdtool.errors import InputError, ResourceError
from tests.data.graph_reading import check, weights_of


def built(
    tails: list[int], heads: list[int], *, memory: int = 1 << 20, bipartite: bool = False, **facts: object
) -> Graph:
    found = FoundGraph(np.array(tails), np.array(heads), **facts)  # type: ignore[arg-type]
    graph = build_graph(found, bipartite=bipartite, memory=memory, ledger=Ledger(), path="x")
    check(graph)
    return graph


def test_numbers_of_nodes_with_holes() -> None:
    graph = built([7, -3, 10**12], [10**12, 7, -3], description="three")
    assert graph.names() == ["-3", "7", "1000000000000"]
    assert graph.n_edges == 3
    assert graph.description == "three; 3 nodes, 3 edges"


def test_as_many_nodes_as_stated() -> None:
    graph = built([1, 5], [3, 1], n_nodes=6, first=1)
    assert graph.names() == ["1", "2", "3", "4", "5", "6"]
    assert weights_of(graph) == {("1", "3"): 1, ("1", "5"): 1}
    for tails, node in (([1, 7], "7"), ([0, 1], "0")):
        with pytest.raises(InputError, match=f"the node {node}, and nodes are 1 ... 6"):
            built(tails, [3, 1], n_nodes=6, first=1)


def test_names_in_any_order_and_without_edges() -> None:
    graph = built([0, 2], [2, 3], names=["zoë", "only", "zoe", "Zoe"], weights=np.array([2.0, 3.0]))
    assert graph.ids == ["Zoe", "only", "zoe", "zoë"]
    assert weights_of(graph) == {("zoe", "zoë"): 2, ("Zoe", "zoe"): 3}
    assert isinstance(built([0], [1], names=["10", "9"]).ids, np.ndarray)
    assert built([0], [1], names=["10", "9"]).names() == ["9", "10"]
    assert built([0], [1], names=["10", "09"]).names() == ["09", "10"]


def test_a_rectangle_has_two_kinds_of_nodes() -> None:
    graph = built([0, 1, 1], [0, 2, 1], n_nodes=5, n_left=2, directed=True)
    assert graph.names() == ["0", "1", "0", "1", "2"]
    assert graph.n_left == 2
    assert graph.adjacency().toarray()[:2, 2:].tolist() == [[1, 0, 0], [0, 1, 1]]
    assert graph.notes == ()
    with pytest.raises(InputError, match="the node 3, and nodes are 0"):
        built([0], [3], n_nodes=5, n_left=2)


def test_two_kinds_by_name() -> None:
    graph = built([1, 0], [3, 2], names=["b", "a", "z", "b", "c"], n_left=2)
    assert graph.names() == ["a", "b", "b", "c", "z"]
    assert graph.adjacency().toarray()[:2, 2:].tolist() == [[1, 0, 0], [0, 0, 1]]
    graph = built([1, 2], [3, 3], names=["a", "b", "c", "d"], bipartite=True)
    assert (graph.names(), graph.n_left) == (["a", "b", "c", "d"], 3)
    graph = built([1, 1, 2], [1, 2, 3], n_nodes=4, bipartite=True)
    assert (graph.names(), graph.n_left) == (["1", "2", "1", "2", "3"], 2)


def test_directions() -> None:
    assert built([1, 2], [2, 3], directed=True).notes == ("directed: symmetrised",)
    assert built([1, 2], [2, 3], directed=False).notes == ()
    assert built([1, 2], [2, 1], notes=("a word",)).notes == ("a word", "edges given in both directions were merged")


def test_refused() -> None:
    with pytest.raises(InputError, match="the edge between b and a has the weight -2"):
        built([0, 1], [1, 0], names=["a", "b"], weights=np.array([1.0, -2.0]))
    with pytest.raises(InputError, match="the edge between 4 and 9 has the weight inf"):
        built([4], [9], weights=np.array([np.inf]))
    with pytest.raises(InputError, match="a graph with no edges"):
        built([], [], n_nodes=3)
    with pytest.raises(InputError, match="4,000,000,000 nodes; a graph may have"):
        built([0], [1], n_nodes=4 * 10**9)
    with pytest.raises(ResourceError, match="a graph of 2,000,000,000 nodes needs 128 GB"):
        built([0], [1], n_nodes=2 * 10**9)
    with pytest.raises(ResourceError, match="a graph of 2 nodes and 1 edge needs"):
        built([0], [1], memory=100)
