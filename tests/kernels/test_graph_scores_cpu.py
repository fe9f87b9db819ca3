"""The passes that score communities against loops over all pairs of nodes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import graph_scores_cpu as kernels
from tests import oracles_graph_scores as oracles

N_NODES, N_COMMUNITIES = 11, 3


@pytest.fixture
def adjacency(rng: np.random.Generator) -> NDArray[np.float64]:
    """A weighted graph; node 4 has no edges."""
    upper = np.triu(rng.integers(1, 8, (N_NODES, N_NODES)) * (rng.random((N_NODES, N_NODES)) < 0.4), 1)
    upper[4], upper[:, 4] = 0, 0
    return (upper + upper.T) / 4


@pytest.fixture
def shares(rng: np.random.Generator) -> NDArray[np.float64]:
    """Memberships; node 6 has none."""
    values = rng.random((N_NODES, N_COMMUNITIES)) * (rng.random((N_NODES, N_COMMUNITIES)) < 0.6)
    values[6] = 0
    values[7] = [0.25, 0.5, 0.25]
    return values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)


def sparse(matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Starts, columns, values of the rows."""
    rows, columns = np.nonzero(matrix)
    first = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return first.astype(np.int64), columns.astype(np.int32), matrix[rows, columns]


@pytest.mark.parametrize("weighted", [True, False])
def test_sums_inside(adjacency: NDArray[np.float64], shares: NDArray[np.float64], weighted: bool) -> None:
    indptr, neighbours, values = sparse(adjacency)
    weights = values.astype(np.float32) if weighted else np.zeros(0, np.float32)
    found = np.zeros((3, N_COMMUNITIES))
    covered = kernels.add_inside(indptr, neighbours, weights, *sparse(shares), *found)
    used = adjacency if weighted else (adjacency > 0).astype(float)
    member = (shares > 0).astype(float)
    expected = [
        [member[:, z] @ used @ member[:, z] for z in range(N_COMMUNITIES)],
        [member[:, z] @ (adjacency > 0) @ member[:, z] for z in range(N_COMMUNITIES)],
        [shares[:, z] @ used @ shares[:, z] for z in range(N_COMMUNITIES)],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert covered == pytest.approx(oracles.coverage(used, shares)[1] * used.sum(), rel=1e-13)


@pytest.mark.parametrize("wanted", [[0, 1, 2], [2, 0]])
def test_links_and_pairs(adjacency: NDArray[np.float64], shares: NDArray[np.float64], wanted: list[int]) -> None:
    indptr, neighbours, _ = sparse(adjacency)
    place = np.full(N_COMMUNITIES, -1, np.int32)
    place[wanted] = np.arange(len(wanted))
    links = np.zeros((len(wanted), len(wanted)))
    kernels.add_links(indptr, neighbours, *sparse(shares), place, links)
    chosen = shares[:, wanted]
    np.testing.assert_allclose(links, chosen.T @ (adjacency > 0) @ chosen, rtol=1e-13)
    pairs = np.outer(chosen.sum(axis=0), chosen.sum(axis=0))
    kernels.subtract_same_node(*sparse(shares), place, pairs)
    expected = sum(np.outer(chosen[u], chosen[v]) for u in range(N_NODES) for v in range(N_NODES) if u != v)
    np.testing.assert_allclose(pairs, expected, rtol=1e-13)


def test_rates_of_pairs(shares: NDArray[np.float64], rng: np.random.Generator) -> None:
    strengths = shares * rng.random(N_NODES)[:, None]
    pairs = np.array([(u, v) for u in range(N_NODES) for v in range(N_NODES)])
    found = np.full(len(pairs), 0.5)
    kernels.add_rates(pairs, *sparse(strengths), found)
    np.testing.assert_allclose(found, oracles.rates(pairs, strengths, 0.5, np.ones(N_NODES)), rtol=1e-13)


def test_no_node_loses_its_last_edge() -> None:
    """A path 0 - 1 - 2 - 3 with a triangle 1, 2, 4: the ends stay, the triangle gives what it can."""
    tails, heads = np.array([0, 1, 1, 2, 2], np.int32), np.array([1, 2, 4, 3, 4], np.int32)
    left, chosen = np.array([1, 3, 3, 1, 2]), np.zeros(5, np.bool_)
    assert kernels.spare_edges(tails, heads, left, 5, chosen) == 2
    assert chosen.tolist() == [False, True, True, False, False]
    assert left.tolist() == [1, 1, 2, 1, 1]
    chosen[:] = False
    assert kernels.spare_edges(tails, heads, np.array([1, 3, 3, 1, 2]), 1, chosen) == 1
    assert chosen.tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("n_left", [None, 3])
def test_every_pair_without_an_edge_has_a_number(adjacency: NDArray[np.float64], n_left: int | None) -> None:
    joined = np.delete(np.delete(adjacency, 4, 0), 4, 1)
    n_nodes = len(joined)
    if n_left is not None:
        joined[:n_left, :n_left] = joined[n_left:, n_left:] = 0
        joined[0, n_left] = joined[n_left, 0] = 1
    indptr, neighbours, _ = sparse(joined)
    expected = [
        (u, v)
        for u in range(n_nodes)
        for v in range(u + 1, n_nodes)
        if oracles.crossing(u, v, n_left) and not joined[u, v]
    ]
    counts = np.bincount([u for u, _ in expected], minlength=n_nodes)
    before = np.concatenate([[0], np.cumsum(counts)])
    start = np.arange(1, n_nodes + 1) if n_left is None else np.full(n_nodes, n_left)
    pairs = np.empty((len(expected), 2), np.int64)
    kernels.unrank_non_edges(np.arange(len(expected)), before, start, indptr, neighbours, pairs)
    assert [tuple(pair) for pair in pairs.tolist()] == expected


def test_best_overlaps(shares: NDArray[np.float64], rng: np.random.Generator) -> None:
    other = (rng.random((N_NODES, 5)) < 0.4).astype(float)
    other[:, 3] = 0
    first, members, _ = sparse(shares.T)
    best = np.empty(N_COMMUNITIES)
    other_first, communities, _ = sparse(other)
    sizes, other_sizes = np.count_nonzero(shares, axis=0), np.count_nonzero(other, axis=0)
    kernels.best_overlaps(first, members, sizes, other_first, communities, other_sizes, best)
    sets, others = ([set(np.flatnonzero(column)) for column in matrix.T] for matrix in (shares, other))
    np.testing.assert_allclose(best, oracles.best_jaccard(sets, others), rtol=1e-15)
