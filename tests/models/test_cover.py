"""Covers: who belongs where, in and out of every form."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.models.cover import Cover

SETS = [[4, 0, 1], [1, 3, 3, 2], [], [6]]  # of 7 nodes; 5 is in none, 3 is named twice
SHARES = np.array(
    [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], float
)


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float64]:
    """(n, k) of which some entries are 0."""
    n, k = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    cells = draw(st.lists(st.sampled_from([0, 0, 0.25, 1, 3]), min_size=n * k, max_size=n * k))
    return np.array(cells, float).reshape(n, k)


def dense(cover: Cover) -> NDArray[np.float64]:
    matrix = np.zeros((cover.n_nodes, cover.n_communities))
    for node in range(cover.n_nodes):
        for entry in range(cover.indptr[node], cover.indptr[node + 1]):
            matrix[node, cover.communities[entry]] = cover.weights[entry]
    return matrix


def test_from_sets() -> None:
    cover = Cover.from_sets(SETS, 7)
    np.testing.assert_array_equal(dense(cover), SHARES)
    assert (cover.n_nodes, cover.n_communities) == (7, 4)
    assert cover.sizes.tolist() == [3, 3, 0, 1]
    assert cover.n_memberships.tolist() == [1, 2, 1, 1, 1, 0, 1]
    assert cover.entry_nodes().tolist() == [0, 1, 1, 2, 3, 4, 6]
    assert [nodes.tolist() for nodes in cover.sets()] == [[0, 1, 4], [1, 2, 3], [], [6]]
    kinds = (cover.indptr.dtype, cover.communities.dtype, cover.weights.dtype, cover.sizes.dtype)
    assert kinds == (np.int64, np.int32, np.float64, np.int64)


def test_by_community_is_the_transpose() -> None:
    cover = Cover.from_dense([[0.25, 0.75], [0, 1], [1, 0]])
    indptr, nodes, weights = cover.by_community()
    assert indptr.tolist() == [0, 2, 4]
    assert nodes.tolist() == [0, 2, 0, 1]
    assert weights.tolist() == [0.25, 1, 0.75, 1]


def test_from_labels() -> None:
    cover = Cover.from_labels([2, 0, -1, 2])
    assert [nodes.tolist() for nodes in cover.sets()] == [[1], [], [0, 3]]
    assert Cover.from_labels([]).n_communities == 0


@given(matrices())
def test_dense_and_sparse_matrices_give_the_same_cover(matrix: NDArray[np.float64]) -> None:
    cover = Cover.from_dense(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(dense(cover), matrix / np.where(totals > 0, totals, 1), rtol=1e-15)
    np.testing.assert_array_equal(cover.to_csr().toarray(), dense(cover))
    again = Cover.from_csr(sp.coo_array(matrix))
    np.testing.assert_array_equal(again.indptr, cover.indptr)
    np.testing.assert_array_equal(again.communities, cover.communities)
    np.testing.assert_allclose(again.weights, cover.weights, rtol=1e-15)


def test_small_memberships_are_dropped_before_rows_are_scaled() -> None:
    cover = Cover.from_dense([[0.1, 0.3, 0.6], [0.2, 0.2, 0.2]], threshold=0.2)
    np.testing.assert_allclose(dense(cover), [[0, 1 / 3, 2 / 3], [0, 0, 0]])


def test_entries_given_twice_add_up() -> None:
    cover = Cover.from_entries(
        np.array([2, 0, 2, 2]), np.array([1, 1, 0, 1]), np.array([1.0, 4, 2, 5]), n_nodes=3, n_communities=2
    )
    np.testing.assert_allclose(dense(cover), [[0, 1], [0, 0], [0.25, 0.75]])


@given(matrices(), st.data())
def test_restricted_rows_are_rows(matrix: NDArray[np.float64], data: st.DataObject) -> None:
    cover = Cover.from_dense(matrix)
    chosen = data.draw(st.lists(st.integers(0, max(len(matrix) - 1, 0)), max_size=5 if len(matrix) else 0))
    np.testing.assert_array_equal(dense(cover.restricted(np.array(chosen, int))), dense(cover)[np.array(chosen, int)])
    mask = np.isin(np.arange(len(matrix)), chosen)
    np.testing.assert_array_equal(dense(cover.restricted(mask)), dense(cover)[mask])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cover.from_sets([[0, 7]], 7), "node 7 is not within 0 and 6"),
        (lambda: Cover.from_sets([[-1]], 7), "node -1"),
        (lambda: Cover.from_dense([1.0, 2.0]), "want a matrix"),
        (lambda: Cover.from_dense([[1.0]], threshold=-1), "threshold"),
        (lambda: Cover.from_dense([[np.nan]]), "finite"),
        (lambda: Cover.from_csr(sp.csr_array([[-1.0]])), "not negative"),
        (lambda: Cover.from_sets(SETS, 7).restricted([7]), "within 0 and 6"),
        (lambda: Cover.from_sets(SETS, 7).restricted(np.ones(3, bool)), "mask has shape"),
        (lambda: Cover(np.array([0, 2]), np.array([0], np.int32), np.ones(1), 1), "indptr"),
        (lambda: Cover(np.array([0, 2, 1]), np.array([0], np.int32), np.ones(1), 1), "must not fall"),
        (lambda: Cover(np.array([0, 1]), np.array([0], np.int32), np.ones(2), 1), "1 entries and 2 weights"),
        (lambda: Cover(np.array([0, 1]), np.array([3], np.int32), np.ones(1), 3), "community 3"),
        (lambda: Cover(np.array([0, 1]), np.array([0], np.int32), np.zeros(1), 1), "more than 0"),
        (lambda: Cover.from_sets([], 1 << 31), "too many"),
    ],
)
def test_what_is_no_cover_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
