"""Edges to rows: against dictionaries of pairs, and the same bits for every order of the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.kernels.edge_rows_cpu import EdgeRows, rows_by_head, symmetric_rows
from tests.oracles_graph import matrix_of, merged_edges

ENDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0, 3.0])), max_size=20)


def rows_of(edges: np.ndarray, weights: np.ndarray | None, n_nodes: int) -> EdgeRows:
    tails, heads = (np.ascontiguousarray(column, np.int32) for column in edges.reshape(-1, 2).T)
    return symmetric_rows(rows_by_head(tails, heads, weights, n_nodes))


def matrix(rows: EdgeRows) -> np.ndarray:
    n_nodes = rows.indptr.size - 1
    dense = np.zeros((n_nodes, n_nodes))
    for node in range(n_nodes):
        row = slice(rows.indptr[node], rows.indptr[node + 1])
        assert np.all(np.diff(rows.neighbours[row]) > 0)
        dense[node, rows.neighbours[row]] = 1 if rows.weights is None else rows.weights[row]
    return dense


@given(ENDS, st.booleans())
def test_against_dictionaries(found: list[tuple[int, int, float]], weighted: bool) -> None:
    edges = [(tail, head) for tail, head, _ in found]
    weights = [weight for _, _, weight in found] if weighted else None
    by_head = rows_by_head(
        np.array([tail for tail, _ in edges], np.int32),
        np.array([head for _, head in edges], np.int32),
        None if weights is None else np.array(weights),
        7,
    )
    rows = symmetric_rows(by_head)
    merged, tally = merged_edges(edges, weights)
    np.testing.assert_array_equal(matrix(rows), matrix_of(merged, range(7)))
    assert (by_head.n_loops, by_head.n_zero) == (tally["loops"], tally["zero"])
    assert (rows.n_repeated, rows.n_both) == (tally["repeated"], tally["both"])
    assert (rows.weights is None) == (not weighted)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_edges_does_not_matter(rng: np.random.Generator, weighted: bool) -> None:
    edges = rng.integers(0, 7, (120, 2))
    weights = rng.random(120) if weighted else None
    first = rows_of(edges, weights, 11)
    for _ in range(5):
        order = rng.permutation(120)
        other = rows_of(edges[order], None if weights is None else weights[order], 11)
        for one, two in zip(first[:3], other[:3], strict=True):
            np.testing.assert_array_equal(one, two)


def test_not_even_rounding_depends_on_the_order() -> None:
    """1 + 2^-24 is half way between two floats of 32 bits; which one it is depends on the sum of the two tiny ones."""
    edges, weights = np.array([[0, 1]] * 3), np.array([1 + 2.0**-24, 2.0**-53, 2.0**-53])
    for order in ([0, 1, 2], [1, 0, 2], [1, 2, 0]):
        rows = rows_of(edges, weights[order], 2)
        assert rows.weights is not None
        assert rows.weights.tolist() == [1 + 2.0**-23] * 2


def test_directions_do_not_matter_where_each_edge_is_there_once(rng: np.random.Generator) -> None:
    edges = np.array([(a, b) for a in range(5) for b in range(a)])
    weights = rng.random(len(edges))
    swapped = np.where(rng.random((len(edges), 1)) < 0.5, edges, edges[:, ::-1])
    for one, two in zip(rows_of(edges, weights, 5)[:3], rows_of(swapped, weights, 5)[:3], strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_symmetric_matrix_counts_each_edge_once() -> None:
    edges = np.array([[0, 1], [1, 0], [2, 1], [1, 2]])
    rows = rows_of(edges, np.array([3.0, 3.0, 0.5, 0.5]), 3)
    assert rows.halved
    np.testing.assert_array_equal(matrix(rows), [[0, 3, 0], [3, 0, 0.5], [0, 0.5, 0]])
    rows = rows_of(edges, np.array([3.0, 3.0, 0.5, 0.25]), 3)
    assert not rows.halved
    np.testing.assert_array_equal(matrix(rows), [[0, 6, 0], [6, 0, 0.75], [0, 0.75, 0]])
    rows = rows_of(edges[:3], np.array([3.0, 3.0, 0.5]), 3)
    assert not rows.halved
    np.testing.assert_array_equal(matrix(rows), [[0, 6, 0], [6, 0, 0.5], [0, 0.5, 0]])


def test_nothing() -> None:
    rows = rows_of(np.zeros((0, 2)), None, 3)
    assert rows.indptr.tolist() == [0, 0, 0, 0]
    assert rows.neighbours.size == 0
    assert rows_of(np.zeros((0, 2)), None, 0).indptr.tolist() == [0]


def test_what_does_not_fit_is_refused() -> None:
    ends = np.array([0, 1], np.int32)
    with pytest.raises(ValueError, match="differ in length"):
        rows_by_head(ends, ends[:1], None, 2)
    with pytest.raises(ValueError, match="differ in length"):
        rows_by_head(ends, ends, np.ones(3), 2)
    with pytest.raises(ValueError, match="not among"):
        rows_by_head(ends, ends, None, 1)
    with pytest.raises(ValueError, match="not among"):
        rows_by_head(ends, -ends, None, 5)
