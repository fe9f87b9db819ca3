"""Passes of the block model over the edges, against loops over all pairs and against differences of the likelihood."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import threads
from tdtool.kernels.blocks_cpu import SMALLEST_RATE, dense_pass, entry_gains, sparse_pass
from tests import oracles_communities as oracles

Array = NDArray[Any]
N_NODES, N_COMMUNITIES, BACKGROUND = 11, 3, 0.7
#: Weights are float32, and so are products with them where nothing is compiled.
EXACT = 1e-6


@pytest.fixture
def adjacency(rng: np.random.Generator) -> Array:
    """Weights from 0.25 to 4; node 4 has no edges."""
    upper = np.triu(rng.integers(1, 17, (N_NODES, N_NODES)) * (rng.random((N_NODES, N_NODES)) < 0.5), 1)
    upper[4], upper[:, 4] = 0, 0
    return (upper + upper.T) / 4


@pytest.fixture
def strengths(rng: np.random.Generator) -> Array:
    """F, a third of it 0; node 6 is in no community."""
    values = rng.gamma(1.0, 0.6, (N_NODES, N_COMMUNITIES)) * (rng.random((N_NODES, N_COMMUNITIES)) < 0.67)
    values[6] = 0
    return values.astype(np.float32).astype(np.float64)


@pytest.fixture
def propensity(rng: np.random.Generator) -> Array:
    return rng.uniform(0.2, 0.9, N_NODES)


def rows_of(matrix: Array) -> tuple[NDArray[np.int64], NDArray[np.int32], Array]:
    """Starts, columns, values of the entries that are not 0."""
    rows, columns = np.nonzero(matrix)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return starts.astype(np.int64), columns.astype(np.int32), matrix[rows, columns]


def graph_of(adjacency: Array, *, weighted: bool) -> tuple[NDArray[np.int64], NDArray[np.int32], Array | None]:
    starts, neighbours, weights = rows_of(adjacency)
    return starts, neighbours, weights.astype(np.float32) if weighted else None


def used(adjacency: Array, *, weighted: bool) -> Array:
    return adjacency if weighted else (adjacency > 0).astype(float)


both = pytest.mark.parametrize("weighted", [False, True])


@both
def test_dense_pass(adjacency: Array, strengths: Array, propensity: Array, weighted: bool) -> None:
    graph = graph_of(adjacency, weighted=weighted)
    found, plain = dense_pass(*graph, strengths.astype(np.float32), BACKGROUND, propensity)
    inside, shares = oracles.expected_links(used(adjacency, weighted=weighted), strengths, BACKGROUND, propensity)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, inside, rtol=3e-6, atol=1e-6)
    np.testing.assert_allclose(plain, shares, rtol=1e-6)


@both
def test_sparse_pass(adjacency: Array, strengths: Array, propensity: Array, weighted: bool) -> None:
    graph, rows = graph_of(adjacency, weighted=weighted), rows_of(strengths)
    found, plain, _ = sparse_pass(*graph, *rows, BACKGROUND, propensity)
    inside, shares = oracles.expected_links(used(adjacency, weighted=weighted), strengths, BACKGROUND, propensity)
    np.testing.assert_allclose(found, inside[strengths > 0], rtol=EXACT)
    np.testing.assert_allclose(plain, shares, rtol=EXACT)


@both
def test_the_likelihood_of_the_edges(adjacency: Array, strengths: Array, propensity: Array, weighted: bool) -> None:
    """With the price of all pairs it is the likelihood of the graph; unscored it is left out."""
    graph, rows = graph_of(adjacency, weighted=weighted), rows_of(strengths)
    matrix = used(adjacency, weighted=weighted)
    price = sum(oracles.rate(u, v, strengths, BACKGROUND, propensity) for u, v in oracles.pairs(N_NODES))
    gain = sparse_pass(*graph, *rows, BACKGROUND, propensity, scored=True)[2].sum() / 2
    assert gain - price == pytest.approx(oracles.log_likelihood(matrix, strengths, BACKGROUND, propensity), rel=EXACT)
    assert not sparse_pass(*graph, *rows, BACKGROUND, propensity)[2].any()


@both
def test_expected_links_are_the_slope_of_the_likelihood(
    adjacency: Array, strengths: Array, propensity: Array, weighted: bool
) -> None:
    """dL / dlog F_uz = expected links - sum over all v of F_uz F_vz: where both agree, L is stationary."""
    graph, rows = graph_of(adjacency, weighted=weighted), rows_of(strengths)
    found = sparse_pass(*graph, *rows, BACKGROUND, propensity)[0]
    slopes = oracles.slopes(used(adjacency, weighted=weighted), strengths, BACKGROUND, propensity)
    there = strengths > 0
    np.testing.assert_allclose(found - oracles.inside_links(strengths)[there], slopes[there], atol=1e-6)


def test_dense_and_sparse_pass_agree_on_every_support(
    adjacency: Array, strengths: Array, propensity: Array, rng: np.random.Generator
) -> None:
    """A support may hold entries of strength 0: they get no links."""
    support = (strengths > 0) | (rng.random(strengths.shape) < 0.5)
    starts, communities, _ = rows_of(support)
    assert support.sum() > (strengths > 0).sum()
    graph = graph_of(adjacency, weighted=True)
    dense, plain = dense_pass(*graph, strengths.astype(np.float32), BACKGROUND, propensity)
    sparse, shares, _ = sparse_pass(*graph, starts, communities, strengths[support], BACKGROUND, propensity)
    np.testing.assert_allclose(dense[support], sparse, rtol=3e-6, atol=1e-6)
    assert not dense[~support].any()
    np.testing.assert_allclose(plain, shares, rtol=1e-6)


@both
def test_gains_are_what_the_likelihood_of_the_edges_loses(
    adjacency: Array, strengths: Array, propensity: Array, weighted: bool
) -> None:
    """The oracle takes memberships out of the whole likelihood: absent pairs become cheaper by F_uz (S_z - F_uz)."""
    graph, rows = graph_of(adjacency, weighted=weighted), rows_of(strengths)
    found = entry_gains(*graph, *rows, BACKGROUND, propensity)
    saved = oracles.inside_links(strengths) / np.log(2)
    matrix = used(adjacency, weighted=weighted)
    expected = [
        oracles.membership_gain(matrix, strengths, BACKGROUND, propensity, u, z) + saved[u, z]
        for u, z in zip(*np.nonzero(strengths), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=EXACT, atol=EXACT)


def test_an_edge_that_nothing_explains_is_as_unlikely_as_the_smallest_rate() -> None:
    """Two nodes without strength or background: finite, and without them no gain for anybody."""
    graph = (np.array([0, 1, 2]), np.array([1, 0], np.int32), None)
    rows = (np.array([0, 1, 2]), np.array([0, 1], np.int32), np.array([1.5, 2.0]))
    expected, plain, gain = sparse_pass(*graph, *rows, 0.0, np.ones(2), scored=True)
    np.testing.assert_allclose(gain, np.log(SMALLEST_RATE))
    assert not expected.any()
    assert not plain.any()
    dense, shared = dense_pass(*graph, np.diag([1.5, 2.0]).astype(np.float32), 0.0, np.ones(2))
    assert not dense.any()
    assert not shared.any()
    assert not entry_gains(*graph, *rows, 0.0, np.ones(2)).any()


def test_one_community_alone_explains_its_edge() -> None:
    """Without a background the gain of either end is all that the edge is above the smallest rate."""
    graph = (np.array([0, 1, 2]), np.array([1, 0], np.int32), np.array([2.5, 2.5], np.float32))
    rows = (np.array([0, 1, 2]), np.zeros(2, np.int32), np.array([1.5, 2.0]))
    gains = entry_gains(*graph, *rows, 0.0, np.ones(2))
    edge = 2.5 * np.log1p(-np.exp(-3.0)) + 3.0 - 2.5 * np.log(SMALLEST_RATE)
    np.testing.assert_allclose(gains, edge / np.log(2), rtol=1e-5)


@pytest.mark.parametrize("n_nodes", [0, 3])
def test_no_edges(n_nodes: int) -> None:
    graph = (np.zeros(n_nodes + 1, np.int64), np.zeros(0, np.int32), None)
    rows = (np.zeros(n_nodes + 1, np.int64), np.zeros(0, np.int32), np.zeros(0))
    expected, plain, gain = sparse_pass(*graph, *rows, 1.0, np.ones(n_nodes), scored=True)
    assert (expected.shape, plain.tolist(), gain.tolist()) == ((0,), [0.0] * n_nodes, [0.0] * n_nodes)
    dense, shared = dense_pass(*graph, np.ones((n_nodes, 2), np.float32), 1.0, np.ones(n_nodes))
    np.testing.assert_array_equal(dense, np.zeros((n_nodes, 2)))
    assert shared.tolist() == [0.0] * n_nodes
    assert entry_gains(*graph, *rows, 1.0, np.ones(n_nodes)).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda graph, rows: dense_pass(*graph, np.ones((4, 2), np.float32), 1.0, np.ones(3)),
        lambda graph, rows: dense_pass(*graph, np.ones((3, 2), np.float32), 1.0, np.ones(2)),
        lambda graph, rows: sparse_pass(*graph, rows[0][:-1], *rows[1:], 1.0, np.ones(3)),
        lambda graph, rows: entry_gains(graph[0], graph[1][:-1], None, *rows, 1.0, np.ones(3)),
        lambda graph, rows: dense_pass(*graph, np.ones((5, 2), np.float32), 1.0, np.ones(5)),
        lambda graph, rows: dense_pass(*graph, np.ones((5, 2), np.float32), 1.0, np.ones(5), first=3),
        lambda graph, rows: dense_pass(*graph, np.ones((5, 2), np.float32), 1.0, np.ones(5), first=-1),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call: Callable[[Any, Any], object]) -> None:
    graph = (np.array([0, 1, 3, 4]), np.array([1, 0, 2, 1], np.int32), None)
    rows = (np.array([0, 1, 1, 1]), np.zeros(1, np.int32), np.ones(1))
    sparse_pass(*graph, *rows, 1.0, np.ones(3))
    dense_pass(*graph, np.ones((5, 2), np.float32), 1.0, np.ones(5), first=2)
    with pytest.raises(ValueError, match="the graph has 3 nodes"):
        call(graph, rows)


def test_the_same_bits_for_any_number_of_threads_and_blocks(
    adjacency: Array, strengths: Array, propensity: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, rows = graph_of(adjacency, weighted=True), rows_of(strengths)

    def all_passes() -> list[bytes]:
        dense, plain = dense_pass(*graph, strengths.astype(np.float32), BACKGROUND, propensity)
        expected, shares, gain = sparse_pass(*graph, *rows, BACKGROUND, propensity, scored=True)
        gains = entry_gains(*graph, *rows, BACKGROUND, propensity)
        return [np.asarray(part).tobytes() for part in (dense, plain, expected, shares, gain, gains)]

    whole = all_passes()
    monkeypatch.setattr(threads, "GRAIN", 64)
    assert len(threads.blocks(100, 64 * 9.0)) == 9
    assert all_passes() == whole
    with threads.using(2):
        assert all_passes() == whole


@both
@pytest.mark.parametrize("cuts", [(0, N_NODES), (0, 1, 4, 5, N_NODES), range(N_NODES + 1)])
def test_passes_over_parts_of_the_rows_are_parts_of_the_whole(
    adjacency: Array, strengths: Array, propensity: Array, weighted: bool, cuts: Sequence[int]
) -> None:
    (starts, neighbours, weights), rows = graph_of(adjacency, weighted=weighted), rows_of(strengths)
    model, dense_model = (*rows, BACKGROUND, propensity), (strengths.astype(np.float32), BACKGROUND, propensity)
    found = []
    for first, last in itertools.pairwise(cuts):
        ends = slice(starts[first], starts[last])
        some = (starts[first : last + 1] - starts[first], neighbours[ends], None if weights is None else weights[ends])
        parts = (*dense_pass(*some, *dense_model, first=first), *sparse_pass(*some, *model, first=first, scored=True))
        found.append((*parts, entry_gains(*some, *model, first=first)))
    graph = (starts, neighbours, weights)
    whole = (*dense_pass(*graph, *dense_model), *sparse_pass(*graph, *model, scored=True), entry_gains(*graph, *model))
    for one, parts in zip(whole, zip(*found, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), one)
