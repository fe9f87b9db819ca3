"""Label propagation and the passes around it, against dense loops from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.kernels import propagation_cpu as kernel

N, K = 11, 3
CSR = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


@pytest.fixture
def matrix(rng: np.random.Generator) -> NDArray[np.float64]:
    upper = np.triu(rng.integers(1, 5, (N, N)) * (rng.random((N, N)) < 0.4), 1)
    return (upper + upper.T).astype(np.float64)


def csr(matrix: NDArray[np.float64], *, weighted: bool = True) -> CSR:
    stored = sp.csr_array(matrix)
    weights = stored.data.astype(np.float32) if weighted else np.empty(0, np.float32)
    return stored.indptr.astype(np.int64), stored.indices.astype(np.int32), weights


def dense(indptr: NDArray[np.int64], neighbours: NDArray[np.int32], weights: NDArray[np.floating]) -> NDArray:
    return sp.csr_array((weights, neighbours, indptr), shape=(indptr.size - 1,) * 2).toarray()


def test_the_hash_is_one_to_one_and_the_same_for_numbers_and_arrays() -> None:
    numbers = np.arange(5000, dtype=np.int64)
    hashes = kernel.mixed(numbers)
    assert np.unique(hashes).size == 5000
    assert [kernel.mixed(int(number)) for number in numbers[:7]] == hashes[:7].tolist()
    assert abs(float(np.mean(hashes < 2**31)) - 0.5) < 0.03


@pytest.mark.parametrize("weighted", [False, True])
def test_moves_only_climb_and_end_where_no_node_gains(matrix: NDArray[np.float64], weighted: bool) -> None:
    used = matrix if weighted else (matrix > 0).astype(np.float64)
    volumes, labels = used.sum(axis=1), np.arange(N)
    price, order = 1.3 / volumes.sum(), np.array([7, 2, 9, 0, 4, 10, 1, 6, 3, 8, 5])
    totals = volumes.copy()
    graph = csr(matrix, weighted=weighted)

    def worth(node: int, label: int) -> float:
        others = (labels == label) & (np.arange(N) != node)
        return float(used[node, others].sum() - price * volumes[node] * volumes[others].sum())

    moved = kernel.move_nodes(*graph, volumes, order, np.argsort(order), price, 50, 1, labels, totals)
    assert moved > 0
    np.testing.assert_allclose(totals, np.bincount(labels, volumes, N), atol=1e-9)
    for node in range(N):
        assert worth(node, int(labels[node])) >= max(worth(node, int(label)) for label in np.unique(labels)) - 1e-9


def test_without_a_price_a_connected_graph_takes_one_label_and_equals_go_to_the_higher_rank() -> None:
    path = np.diag(np.ones(2), 1) + np.diag(np.ones(2), -1)
    for ranks, expected in (([0, 1, 2], [2, 2, 2]), ([2, 1, 0], [0, 0, 0])):
        labels, volumes = np.arange(3), np.array([1.0, 2.0, 1.0])
        order = np.array([1, 0, 2])
        kernel.move_nodes(*csr(path), volumes, order, np.array(ranks), 0.0, 9, 1, labels, volumes.copy())
        assert labels.tolist() == expected


def test_coarse_graph_sums_blocks(matrix: NDArray[np.float64]) -> None:
    labels = np.array([0, 2, 1, 0, 0, 1, 2, 2, 1, 0, 2])
    one_hot = np.eye(K)[labels]
    members = np.argsort(labels, kind="stable")
    parts = kernel.coarse_graph(*csr(matrix), labels, np.array([0, 4, 7, 11]), members)
    np.testing.assert_array_equal(dense(*parts), one_hot.T @ matrix @ one_hot)


@pytest.mark.parametrize("weighted", [False, True])
def test_hold_out_splits_every_edge_from_both_ends(matrix: NDArray[np.float64], weighted: bool) -> None:
    indptr, kept, weights, edges = kernel.hold_out(*csr(matrix, weighted=weighted), 5, int(0.3 * 2**32))
    used = matrix if weighted else (matrix > 0).astype(np.float64)
    training = dense(indptr, kept, weights if weighted else np.ones(kept.size, np.float32))
    held = np.zeros((N, N))
    held[edges[:, 0], edges[:, 1]] = used[edges[:, 0], edges[:, 1]]
    assert (edges[:, 0] < edges[:, 1]).all()
    assert 0 < len(edges) < (matrix > 0).sum() / 2
    np.testing.assert_array_equal(training + held + held.T, used)
    other_seed = kernel.hold_out(*csr(matrix, weighted=weighted), 6, int(0.3 * 2**32))[3]
    assert other_seed.tolist() != edges.tolist()


def test_reordered(matrix: NDArray[np.float64], rng: np.random.Generator) -> None:
    order = rng.permutation(N)
    np.testing.assert_array_equal(dense(*kernel.reordered(*csr(matrix), order)), matrix[np.ix_(order, order)])
    unweighted = kernel.reordered(*csr(matrix, weighted=False), order)
    assert unweighted[2].size == 0
    np.testing.assert_array_equal(unweighted[0], np.concatenate(([0], np.cumsum((matrix > 0).sum(1)[order]))))


@pytest.mark.parametrize("weighted", [False, True])
def test_expected_links_by_labels(matrix: NDArray[np.float64], weighted: bool) -> None:
    labels = np.array([0, 2, 1, 0, 0, 1, 2, 2, 1, 0, 2])
    used = matrix if weighted else (matrix > 0).astype(np.float64)
    votes = used @ np.eye(K)[labels]
    totals = np.bincount(labels, used.sum(axis=1))
    edges = np.array([[0, 1], [3, 10], [2, 7]])
    rates = (votes / totals) @ votes.T
    found = kernel.expected_links(*csr(matrix, weighted=weighted), labels, totals, edges)
    np.testing.assert_allclose(found, rates[edges[:, 0], edges[:, 1]], rtol=1e-12)


def test_neighbour_labels_keeps_the_heaviest_and_of_equals_the_lower() -> None:
    matrix = np.zeros((6, 6))
    matrix[0, 1:] = [2, 1, 2, 3, 1]
    matrix += matrix.T
    labels = np.array([1, 4, 0, 2, 1, 0])
    indptr, communities, amounts = kernel.neighbour_labels(*csr(matrix), labels, 5, 2)
    assert indptr.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert communities[:2].tolist() == [0, 1]
    assert amounts[:2].tolist() == [2.0, 3.0]
    assert communities[2:].tolist() == [1] * 5
    everything = kernel.neighbour_labels(*csr(matrix), labels, 5, 8)
    assert everything[1][:4].tolist() == [0, 1, 2, 4]
    assert everything[2][:4].tolist() == [2.0, 3.0, 2.0, 2.0]
